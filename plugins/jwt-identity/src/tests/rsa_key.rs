//! An RSA key that protects nothing: it signs the tokens of tests. As RFC 7518 section 6.3 writes it.

/// Modulus.
pub const N: &str = concat!(
    "4VwHaocI45UgrsqtZPF9BYmsx_zpfLY8lZY4JwLBL0c0m8jYwFfdznT3rZRQXiS3xH0VUHghyRyJIP8jxDGjuyEl",
    "H0BrS9hlenKcY5d9KLE-ScWspa3Owt4Qdg6p4WNXEQ5CVuFZWgrywk6eo_ZG3S5_jO-6DLKB5aSPgxLvyGt-2eti",
    "GayrHmnQH9Tv4-Y-wlljIOaWgieU_RfihjRFZIJU4dmoM-8ZoLDKLnfj9z-gHTX62NAM4cHeI1j-z0fctAcwIZFg",
    "WcFlN12YwG7b2z8tklHc8yJP0bA_1yxE3YPt5HJ9COsFtWeMqqLlrTiQd2a37xMwf7vDasd9MYqL6w",
);

/// Private exponent.
pub const D: &str = concat!(
    "QgjI5Yae7KzgcEdUSp1WUH6YgdtSgWgW1ZA4cPnmKJfZSwKtvKKijGIKxzKL4CIrNOigC72_zKHPbrtEPDN9chJS",
    "wdcK-aT1i001FRupIXjaMxy4q62Dxeby9Nz0G2aT9xvyBWov1-oYWyZVZt79wcbjuiTuo9TUqjkvki1E1LlaBBd7",
    "n1OuP9pVcYoGSTbk7M8g3JPmXgthWVlCmiOvSGGMU1AepdEbv9Wdp8klRTyfjgHw08FI6niPsfCq0wD3v2OX8DD6",
    "8u8tpZ8NI5qsYNRDGCsJ8SwFS4CD1NYW0IwNv9ZQ3YZVbcNb8latu0d1vS9v2K6stZoCT1vyKS7VQQ",
);

/// First prime.
pub const P: &str = concat!(
    "-r69NVRQMZNPeNmHAYb5l5TVRIGpjMx7PVBZX9prjZ0S-IihJRSfnL9fdzQfWUtk1MNpmt4WWYo1nvaTeiO6e0Cd",
    "sfh5EO3K1yHq5tA8cesHMofS0B5_TOp2hR9aMvjonOkSJrXerV5HYQwcQSNhoZtcx4X926CZ5mC2R4uxfKs",
);

/// Second prime.
pub const Q: &str = concat!(
    "5hUYRql-38jG9yrL6RSs2XdGd_TRwGWoZ5UIoYNvKyg57X9LZxF57QU9VabuLim_GHLEZgkidYzCKVGgbZr6YlUj",
    "xJBbcxAjXaKiCv_9aQ74oGRMUxacpXJWBQ9P9wXSiSBhzQgUSMS_nlek1GI0SgOpn3axo0fByDmRiFZ0rcE",
);
