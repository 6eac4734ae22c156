package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// header has what a JWE may say, in its protected, shared or recipient's header (RFC 7516, 4).
type header struct {
	Alg  string `json:"alg"`
	Enc  string `json:"enc"`
	Apu  string `json:"apu"`
	Apv  string `json:"apv"`
	Zip  string `json:"zip"`
	Crit any    `json:"crit"`
	Epk  struct {
		Crv string `json:"crv"`
		X   string `json:"x"`
		Y   string `json:"y"`
	} `json:"epk"`
}

type recipient struct {
	Header       json.RawMessage `json:"header"`
	EncryptedKey string          `json:"encrypted_key"`
}

type message struct {
	Protected   string          `json:"protected"`
	Unprotected json.RawMessage `json:"unprotected"`
	recipient                   // the flattened form
	Recipients  []recipient     `json:"recipients"` // the general form
	AAD         string          `json:"aad"`
	IV          string          `json:"iv"`
	Ciphertext  string          `json:"ciphertext"`
	Tag         string          `json:"tag"`
}

// openJWE decrypts a JWE, compact or JSON, with the first key that fits.
func openJWE(text []byte, keys []any) ([]byte, error) {
	var m message
	if parts := strings.Split(string(text), "."); len(parts) == 5 {
		m.Protected, m.EncryptedKey, m.IV, m.Ciphertext, m.Tag =
			parts[0], parts[1], parts[2], parts[3], parts[4]
	} else if err := unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("a wrapped key is not a JWE: %w", err)
	}
	if len(m.Recipients) == 0 {
		m.Recipients = []recipient{m.recipient}
	}
	err := errors.New("a JWE is for nobody")
	for _, r := range m.Recipients {
		for _, key := range keys {
			var plain []byte
			if plain, err = m.openFor(r, key); err == nil {
				return plain, nil
			}
		}
	}
	return nil, err
}

func (m *message) openFor(r recipient, key any) ([]byte, error) {
	protected, err := decode(m.Protected)
	if err != nil {
		return nil, err
	}
	var h header
	// What is read last wins: the protected header.
	for _, part := range [][]byte{r.Header, m.Unprotected, protected} {
		if len(part) > 0 {
			if err := unmarshal(part, &h); err != nil {
				return nil, fmt.Errorf("a header of a JWE: %w", err)
			}
		}
	}
	if h.Crit != nil || h.Zip != "" {
		return nil, errors.New("a JWE with `crit` or `zip`, which this example does not read")
	}
	wrapped, err := decode(r.EncryptedKey)
	if err != nil {
		return nil, err
	}
	contentKey, err := h.contentKey(wrapped, key)
	if err != nil {
		return nil, err
	}
	if size := map[string]int{"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}[h.Enc]; size != len(contentKey) {
		return nil, fmt.Errorf("a content key of %d bytes for `%s`", len(contentKey), h.Enc)
	}
	aad := m.Protected
	if m.AAD != "" {
		aad += "." + m.AAD
	}
	iv, err1 := decode(m.IV)
	ciphertext, err2 := decode(m.Ciphertext)
	tag, err3 := decode(m.Tag)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(iv) != gcm.NonceSize() || len(tag) != gcm.Overhead() {
		return nil, errors.New("a JWE with an IV or a tag of a wrong length")
	}
	return gcm.Open(nil, iv, append(ciphertext, tag...), []byte(aad))
}

// contentKey opens the encrypted key as `alg` says (RFC 7518, 4.3 and 4.6).
func (h *header) contentKey(wrapped []byte, key any) ([]byte, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		hashes := map[string]func() hash.Hash{"RSA-OAEP": sha1.New, "RSA-OAEP-256": sha256.New}
		if newHash, ok := hashes[h.Alg]; ok {
			return rsa.DecryptOAEP(newHash(), nil, key, wrapped, nil)
		}
	case *ecdh.PrivateKey:
		sizes := map[string]int{"ECDH-ES+A128KW": 16, "ECDH-ES+A192KW": 24, "ECDH-ES+A256KW": 32}
		if size, ok := sizes[h.Alg]; ok {
			wrappingKey, err := h.agree(key, size)
			if err != nil {
				return nil, err
			}
			return keyUnwrap(wrappingKey, wrapped)
		}
	}
	return nil, fmt.Errorf("`%s` is not for a key of this kind", h.Alg)
}

// agree makes the wrapping key from the ephemeral public key and ours: ECDH, then Concat KDF.
func (h *header) agree(key *ecdh.PrivateKey, size int) ([]byte, error) {
	curve, fieldSize := ecdh.P256(), 32
	switch h.Epk.Crv {
	case "P-256":
	case "P-384":
		curve, fieldSize = ecdh.P384(), 48
	case "P-521":
		curve, fieldSize = ecdh.P521(), 66
	default:
		return nil, fmt.Errorf("an unknown curve, `%s`", h.Epk.Crv)
	}
	x, err1 := decode(h.Epk.X)
	y, err2 := decode(h.Epk.Y)
	if err1 != nil || err2 != nil || len(x) != fieldSize || len(y) != fieldSize {
		return nil, errors.New("an ephemeral key of a wrong length")
	}
	public, err := curve.NewPublicKey(bytes.Join([][]byte{{4}, x, y}, nil))
	if err != nil {
		return nil, err
	}
	shared, err := key.ECDH(public) // an error when the curves differ
	if err != nil {
		return nil, err
	}
	apu, err1 := decode(h.Apu)
	apv, err2 := decode(h.Apv)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	kdf := sha256.New()
	kdf.Write([]byte{0, 0, 0, 1})
	kdf.Write(shared)
	for _, info := range [][]byte{[]byte(h.Alg), apu, apv} {
		kdf.Write(binary.BigEndian.AppendUint32(nil, uint32(len(info))))
		kdf.Write(info)
	}
	kdf.Write(binary.BigEndian.AppendUint32(nil, uint32(size*8)))
	return kdf.Sum(nil)[:size], nil
}

// keyUnwrap is AES Key Wrap, backwards (RFC 3394, 2.2.2). Go's library has none.
func keyUnwrap(wrappingKey, wrapped []byte) ([]byte, error) {
	if len(wrapped)%8 != 0 || len(wrapped) < 24 {
		return nil, errors.New("an encrypted key of a wrong length")
	}
	block, err := aes.NewCipher(wrappingKey)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	a, r := bytes.Clone(wrapped[:8]), bytes.Clone(wrapped[8:])
	var b [16]byte
	for t := 6 * n; t > 0; t-- {
		i := (t - 1) % n
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(a)^uint64(t))
		copy(b[8:], r[8*i:])
		block.Decrypt(b[:], b[:])
		copy(a, b[:8])
		copy(r[8*i:], b[8:])
	}
	if subtle.ConstantTimeCompare(a, bytes.Repeat([]byte{0xa6}, 8)) != 1 {
		return nil, errors.New("the key does not fit")
	}
	return r, nil
}

func decode(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(text)
}
