//! PKCS#11 tokens: keys that never leave a device.
