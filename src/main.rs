//! The `rookery` command.

fn main() {
    println!("Hello, world!");
}
