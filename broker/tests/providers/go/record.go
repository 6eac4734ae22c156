// Records what Go's ocicrypt tells a key provider, with the calls that skopeo and containerd's
// client make: `go run record.go DIRECTORY PROVIDER.PY` in a module that requires
// github.com/containers/ocicrypt. wrap.json and unwrap.json were recorded with its version 1.1.7;
// the types that are written have not changed since (1.3.2).
package main

import (
	"fmt"
	"os"

	"github.com/containers/ocicrypt/config"
	kpc "github.com/containers/ocicrypt/config/keyprovider-config"
	"github.com/containers/ocicrypt/keywrap/keyprovider"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	dir := os.Args[1]
	attrs := kpc.KeyProviderAttrs{Command: &kpc.Command{Path: "/usr/bin/python3", Args: []string{os.Args[2], "command", "normal", dir}}}
	kw := keyprovider.NewKeyWrapper("test", attrs)
	cc, err := config.EncryptWithKeyProvider([][]byte{[]byte("test:a recipient")})
	must(err)
	cc = config.CombineCryptoConfigs([]config.CryptoConfig{cc})
	options := []byte(`{"symkey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","cipheroptions":{"nonce":"AAECAwQFBgcICQoLDA0ODw=="}}`)
	annotation, err := kw.WrapKeys(cc.EncryptConfig, options)
	must(err)
	must(os.Rename(dir+"/request", dir+"/wrap.json"))
	cc, err = config.DecryptWithKeyProvider([][]byte{[]byte("test:a parameter")})
	must(err)
	cc = config.CombineCryptoConfigs([]config.CryptoConfig{cc})
	opened, err := kw.UnwrapKey(cc.DecryptConfig, annotation)
	must(err)
	must(os.Rename(dir+"/request", dir+"/unwrap.json"))
	fmt.Println(string(opened) == string(options))
}
