// A guest for Keycell in Go, with nothing but Go's standard library: it decrypts a layer of an
// encrypted OCI image whose key is wrapped as a JWE, for RSA or for NIST's elliptic curves.
//
// This file is the contract: arguments, streams, keys, exit code. jwe.go opens the wrapped key,
// layer.go decrypts the layer.
package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	payloadType = "io.containerd.ocicrypt.v1.Payload"
	wrappedKeys = "org.opencontainers.image.enc.keys.jwe"
	publicPart  = "org.opencontainers.image.enc.pubopts"
	plainTar    = ".tar+encrypted"
	maxPayload  = 32 << 20
	maxKeyFile  = 1 << 20
)

// fault is an error with the way out of it.
type fault struct{ what, hint string }

func (f *fault) Error() string { return f.what }

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "go-jwe: error: %v\n", err)
	if f := (*fault)(nil); errors.As(err, &f) {
		fmt.Fprintf(os.Stderr, "hint: %s\n", f.hint)
	}
	os.Exit(1)
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 || args[0] != "--payload" {
		return errors.New("the arguments are `--payload -` or `--payload FILE`")
	}
	payload, err := readPayload(args[1], stdin)
	if err != nil {
		return fmt.Errorf("cannot read the payload: %w", err)
	}
	layer, err := descriptorOf(payload)
	if err != nil {
		return fmt.Errorf("the payload makes no sense: %w", err)
	}
	sealed, err := unwrap(layer.Annotations[wrappedKeys], privateKeys("/keys"))
	if err != nil {
		return err
	}
	public, err := base64.StdEncoding.DecodeString(layer.Annotations[publicPart])
	if err != nil {
		return fmt.Errorf("the public options are not base64: %w", err)
	}
	key, err := newLayerKey(sealed, public)
	if err != nil {
		return err
	}
	return key.decrypt(stdin, stdout, strings.HasSuffix(layer.MediaType, plainTar))
}

// readPayload takes it from a file or, for `-`, from the front of standard input, where its length
// in four bytes (big-endian) goes before it.
func readPayload(from string, stdin io.Reader) ([]byte, error) {
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, maxPayload))
	}
	var length uint32
	if err := binary.Read(stdin, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	if length > maxPayload {
		return nil, errors.New("it is longer than 32 MiB")
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(stdin, payload)
	return payload, err
}

// descriptor is what the image's manifest says of the layer.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Annotations map[string]string `json:"annotations"`
}

// descriptorOf reads the layer's descriptor out of what containerd sends: a protobuf `Any`
// (1: type, 2: value) that holds JSON.
func descriptorOf(payload []byte) (*descriptor, error) {
	var kind, value []byte
	for rest := payload; len(rest) > 0; {
		tag := rest[0]
		length, size := binary.Uvarint(rest[1:])
		if tag&7 != 2 || size <= 0 || length > uint64(len(rest)-1-size) {
			return nil, errors.New("it is not a protobuf `Any`")
		}
		field := rest[1+size:][:length]
		rest = rest[1+size:][length:]
		switch tag >> 3 {
		case 1:
			kind = field
		case 2:
			value = field
		}
	}
	if string(kind) != payloadType {
		return nil, fmt.Errorf("its type is %q", kind)
	}
	var document struct{ Descriptor descriptor }
	err := unmarshal(value, &document)
	return &document.Descriptor, err
}

// unmarshal refuses what is nested deeper than anything here is. Go's reader goes down 10,000
// levels, and the stack that a guest has ends before.
func unmarshal(document []byte, into any) error {
	const deepest = 64
	depth, inString, escaped := 0, false, false
	for _, c := range document {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth > deepest {
			return errors.New("JSON that is nested too deeply")
		}
	}
	return json.Unmarshal(document, into)
}

// privateKeys gathers the RSA and EC keys of the files in a directory. A file that is no key is
// passed over: other keys of the node may lie beside ours.
func privateKeys(dir string) []any {
	var keys []any
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		file, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
		file.Close()
		if err != nil {
			continue // a directory
		}
		block, rest := pem.Decode(content)
		if block == nil {
			block = &pem.Block{Bytes: content} // DER
		}
		for ; block != nil; block, rest = pem.Decode(rest) {
			if key := parse(block.Bytes); key != nil {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func parse(der []byte) any {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsaKey, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return rsaKey
		}
		ecKey, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil
		}
		key = ecKey
	}
	if ecKey, ok := key.(*ecdsa.PrivateKey); ok {
		if agreeing, err := ecKey.ECDH(); err == nil {
			return agreeing
		}
		return nil
	}
	return key
}

// unwrap tries every wrapped key with every private key, and returns the first that opens: the
// sealed options, as JSON.
func unwrap(items string, keys []any) ([]byte, error) {
	if items == "" {
		return nil, &fault{"the layer has no key that is wrapped as a JWE",
			"`keycell inspect` tells for whom the image is encrypted"}
	}
	if len(keys) == 0 {
		return nil, &fault{"there is no RSA or EC private key in `/keys`",
			"put one there as PEM or DER, without a password"}
	}
	var failures []string
	for _, item := range strings.Split(items, ",") {
		message, err := base64.StdEncoding.DecodeString(item)
		if err != nil {
			failures = append(failures, err.Error())
			continue
		}
		sealed, err := openJWE(message, keys)
		if err == nil {
			return sealed, nil
		}
		failures = append(failures, err.Error())
	}
	return nil, &fault{fmt.Sprintf("no wrapped key could be opened with %d private keys: %s",
		len(keys), strings.Join(failures, "; ")), "the image was encrypted for other keys"}
}
