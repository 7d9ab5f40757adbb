"use strict";

// Elements, and the text in them.
const $ = (id) => document.getElementById(id);
const SVG = document.querySelector("svg").namespaceURI;

// Sets text only: nothing from the server becomes markup.
const put = (id, text) => {
  const at = typeof id === "string" ? $(id) : id;
  if (at.textContent !== text) at.textContent = text;
};
const show = (id, shown) => { $(id).hidden = !shown; };

// Numbers, durations and lists as text.
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const number = (n) => whole.format(n);
const rate = (n) => (n === null ? "–" : n > 0 && n < 0.05 ? "< 0.1" : n < 100 ? tenth.format(n) : whole.format(n));
const time = (s) => {
  if (s === null || s === undefined) return "–";
  if (s < 0.000001) return "0 µs";
  if (s < 0.0009995) return `${three.format(s * 1e6)} µs`;
  return s < 0.9995 ? `${three.format(s * 1e3)} ms` : `${three.format(s)} s`;
};
const duration = (s) => {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  return d > 0 ? `${d} d ${h} h` : h > 0 ? `${h} h ${m} min` : m > 0 ? `${m} min` : `${Math.floor(s)} s`;
};
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const plural = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
const spaced = (name) => name.replaceAll("_", " ");
