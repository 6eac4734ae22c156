package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// holdBack is how much of the layer stays here until all of it has verified: whoever reads what
// this guest writes may not look at its exit code.
const holdBack = 64 << 10

const altered = "the layer was altered or cut off after it was encrypted"

// layerKey is what decrypts and verifies one layer. Go's JSON decodes base64 into bytes.
type layerKey struct {
	Key     []byte `json:"symkey"`
	Digest  string `json:"digest"`
	Options struct {
		Nonce []byte `json:"nonce"`
	} `json:"cipheroptions"`
	hmac []byte
}

// newLayerKey takes the sealed options, which were wrapped, and the public ones, which were not.
func newLayerKey(sealed, public []byte) (*layerKey, error) {
	key := new(layerKey)
	if err := unmarshal(sealed, key); err != nil {
		return nil, errors.New("the sealed options are not the JSON that they should be")
	}
	var open struct {
		Cipher string `json:"cipher"`
		Hmac   []byte `json:"hmac"`
	}
	if err := unmarshal(public, &open); err != nil {
		return nil, fmt.Errorf("the public options: %w", err)
	}
	if open.Cipher != "AES_256_CTR_HMAC_SHA256" {
		return nil, fmt.Errorf("the layer's cipher is %q", open.Cipher)
	}
	if len(key.Key) != 32 || len(key.Options.Nonce) != 16 || len(open.Hmac) != 32 {
		return nil, errors.New("key, nonce or HMAC of the layer has a wrong length")
	}
	key.hmac = open.Hmac
	return key, nil
}

// decrypt copies the layer from one stream to the other. The last 64 KiB follow only when the HMAC has
// verified and, of a layer that is not compressed, the digest. Of a compressed one the sealed digest may
// be that of the layer before: skopeo compresses a layer while it encrypts it.
func (k *layerKey) decrypt(stdin io.Reader, stdout io.Writer, isPlainTar bool) error {
	block, err := aes.NewCipher(k.Key)
	if err != nil {
		return err
	}
	stream := cipher.NewCTR(block, k.Options.Nonce)
	mac, digest := hmac.New(sha256.New, k.Key), sha256.New()

	buffer, held := make([]byte, 4*holdBack), 0
	for {
		n, err := stdin.Read(buffer[held:])
		fresh := buffer[held : held+n]
		mac.Write(fresh)
		stream.XORKeyStream(fresh, fresh)
		digest.Write(fresh)
		held += n
		if held > holdBack {
			if _, err := stdout.Write(buffer[:held-holdBack]); err != nil {
				return fmt.Errorf("cannot write the layer: %w", err)
			}
			held = copy(buffer, buffer[held-holdBack:held])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read the layer: %w", err)
		}
	}
	if !hmac.Equal(mac.Sum(nil), k.hmac) {
		return &fault{"the HMAC of the layer does not match", altered}
	}
	if isPlainTar && k.Digest != "sha256:"+hex.EncodeToString(digest.Sum(nil)) {
		return &fault{"the layer does not have the digest that was sealed with its key", altered}
	}
	if _, err := stdout.Write(buffer[:held]); err != nil {
		return fmt.Errorf("cannot write the layer: %w", err)
	}
	return nil
}
