use proptest::prelude::*;

use super::*;

fn any_data() -> impl Strategy<Value = Data> {
    let leaf = prop_oneof![
        Just(Data::Null),
        any::<bool>().prop_map(Data::Bool),
        any::<i64>().prop_map(|n| Data::Number(n.into())),
        any::<u64>().prop_map(|n| Data::Number(n.into())),
        any::<f64>().prop_map(float),
        any::<String>().prop_map(Data::from),
        any::<Vec<u8>>().prop_map(|b| Data::Binary(b.into())),
    ];
    leaf.prop_recursive(6, 128, 40, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..40).prop_map(Data::Array),
            prop::collection::vec((any::<String>().prop_map_into(), inner), 0..40)
                .prop_map(Data::Object),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_that_is_written_reads_back_the_same(data in any_data()) {
        let mut bytes = Vec::new();
        write(&mut bytes, &data);
        prop_assert_eq!(read(&bytes), Ok(data));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_truncated_message_is_an_error(data in any_data(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        write(&mut bytes, &data);
        prop_assert_eq!(read(&bytes[..cut.index(bytes.len())]), Err(WireError::Short));
    }
}

#[test]
fn lengths_are_not_trusted_and_depth_is_bounded() {
    for head in [0xdd_u8, 0xdf, 0xc6, 0xdb, 0xc9] {
        assert_eq!(read(&[head, 0xff, 0xff, 0xff, 0xff, 0]), Err(WireError::Short), "{head:x}");
    }
    let nested = |levels| [vec![0x91; levels], vec![0xc0]].concat();
    assert!(read(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(WireError::Deep));
    assert_eq!(read(&[0x91; 100_000]), Err(WireError::Deep));
    assert_eq!(read(&vec![0x81; 100_000]), Err(WireError::Deep));
    let mut wide = vec![0xdd, 0x00, 0x20, 0x00, 0x00];
    wide.resize(wide.len() + (2 << 20), 0xc0);
    assert_eq!(read(&wide), Err(WireError::Large));
    assert_eq!(read(&[0xc0, 0xc0]), Err(WireError::Trailing));
    assert_eq!(read(&[0xc1]), Err(WireError::Type));
}

#[test]
fn dates_become_the_text_that_javascript_writes() {
    // The bytes are what notepack.io writes for these dates; the texts are their toJSON().
    let cases: [(&[u8], &str); 6] = [
        (b"\xd6\xff\x65\x53\xf1\x00", "2023-11-14T22:13:20.000Z"),
        (b"\xd7\xff\x1d\x53\x53\x00\x5e\x0b\xe1\x00", "2020-01-01T00:00:00.123Z"),
        (
            b"\xc7\x0c\xff\x0e\xe6\xb2\x80\xff\xff\xff\xff\xff\xff\xff\xff",
            "1969-12-31T23:59:59.250Z",
        ),
        (
            b"\xc7\x0c\xff\x3b\x8b\x87\xc0\x00\x00\x00\x04\xa1\x4c\x3b\x00",
            "2600-03-01T00:00:00.999Z",
        ),
        (b"\xd6\xff\x38\xbb\x0c\x00", "2000-02-29T00:00:00.000Z"),
        (b"\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01", "1970-01-01T00:00:00.001Z"),
    ];
    for (bytes, text) in cases {
        assert_eq!(read(bytes), Ok(Data::from(text)));
    }
    assert_eq!(date(9e15), Data::Null);
    assert_eq!(date(8.64e15), Data::from("+275760-09-13T00:00:00.000Z"));
    assert_eq!(date(-8.64e15), Data::from("-271821-04-20T00:00:00.000Z"));
}

#[test]
fn extensions_and_keys_are_read_as_in_javascript() {
    assert_eq!(read(&[0xd4, 0x00, 0x00]), Ok(Data::Null));
    assert_eq!(read(&[0xc7, 2, 0, 7, 8]), Ok(Data::Binary(Bytes::from_static(&[7, 8]))));
    assert_eq!(read(&[0xd4, 0x05, 0x00]), Err(WireError::Type));
    assert_eq!(
        read(&[0x82, 0x01, 0xc3, 0xc2, 0xc0]),
        Ok(Data::Object(vec![("1".into(), Data::Bool(true)), ("false".into(), Data::Null)]))
    );
    assert_eq!(read(&[0xca, 0x3f, 0xc0, 0, 0]), Ok(float(1.5)));
    assert_eq!(read(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]), Ok(Data::Null));
}
