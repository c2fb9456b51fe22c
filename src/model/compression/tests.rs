//! Round trips, bombs and garbage through every codec.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        input in prop::collection::vec(any::<u8>(), 0..2_000),
        repeat in 1_usize..60,
    ) {
        let input = input.repeat(repeat);
        for codec in Compression::ALL {
            let packed = codec.compress(&input).unwrap();
            prop_assert_eq!(&codec.decompress(&packed, input.len()).unwrap(), &input);
            if !input.is_empty() {
                let refused = codec.decompress(&packed, input.len() - 1);
                prop_assert!(
                    matches!(refused, Err(CompressionError::TooLarge { .. })), "{codec}");
            }
        }
    }

    #[test]
    fn garbage_is_an_error_or_small(input in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in Compression::ALL {
            if let Ok(output) = codec.decompress(&input, 1_000) {
                prop_assert!(output.len() <= 1_000);
            }
        }
    }
}

#[test]
fn bombs_are_refused_early() {
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = codec.compress(&zeros).unwrap();
        let refused = codec.decompress(&packed, 1 << 20);
        assert!(matches!(refused, Err(CompressionError::TooLarge { .. })), "{codec}");
    }
    // A snappy block that claims 4 GiB in five bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert!(Compression::Snappy.decompress(&claim, 1 << 20).is_err());
}

#[test]
fn plain_snappy_blocks_are_read_as_well() {
    let packed = snap::raw::Encoder::new().compress_vec(b"librdkafka sends these").unwrap();
    let output = Compression::Snappy.decompress(&packed, 100).unwrap();
    assert_eq!(output, b"librdkafka sends these");
}

#[test]
fn cut_xerial_blocks_are_corrupt() {
    let packed = Compression::Snappy.compress(b"some bytes").unwrap();
    for end in [9, 15, 17, 19, packed.len() - 1] {
        let outcome = Compression::Snappy.decompress(&packed[..end], 100);
        assert!(matches!(outcome, Err(CompressionError::Corrupt { .. })), "{end} bytes");
    }
}

#[test]
fn names_and_numbers() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_code(codec.code()).unwrap(), codec);
        assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
    }
    assert!(Compression::from_code(5).is_err());
    assert!("brotli".parse::<Compression>().is_err());
}

#[test]
fn streams_must_be_whole_and_alone() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let input = b"some bytes, some bytes, some bytes".repeat(3_000);
        let packed = codec.compress(&input).unwrap();
        for cut in [1, 4, 8] {
            let cut = codec.decompress(&packed[..packed.len() - cut], 1 << 20);
            assert!(cut.is_err(), "{codec}");
        }
        let behind = codec.decompress(&[&packed[..], b"garbage"].concat(), 1 << 20);
        assert!(behind.is_err(), "{codec}");
    }
}

#[test]
fn levels_are_heeded() {
    let input: Vec<u8> = (0..50_000_u64).flat_map(|n| (n * n % 1_009).to_le_bytes()).collect();
    let packed = |compression, level| {
        let codec = Codec { compression, level: Some(level) };
        let mut encoder = codec.encoder(Vec::new(), None).unwrap();
        encoder.write_all(&input).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(compression.decompress(&packed, input.len()).unwrap(), input);
        packed.len()
    };
    assert!(packed(Compression::Gzip, 9) < packed(Compression::Gzip, 1));
    assert!(packed(Compression::Zstd, 22) < packed(Compression::Zstd, -50));
    packed(Compression::Gzip, -1);
    packed(Compression::Lz4, 17);
}
