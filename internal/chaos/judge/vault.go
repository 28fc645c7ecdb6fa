package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// contents is everything that Vault holds below the prefix.
type contents struct {
	keys         map[string]bool   // public keys (SPKI) of all private keys that certificates and orders hold
	current      map[string][]byte // leaf in DER, of each certificate
	certificates int               // versions of them
	mismatched   []string
	left         []string
}

// readVault reads every version of every path.
func (c Case) readVault() (*contents, error) {
	found := &contents{keys: map[string]bool{}, current: map[string][]byte{}}
	err := c.walk(c.Prefix+"/", func(path string) error {
		versions, current, err := c.versions(path)
		if err != nil {
			return err
		}
		for _, version := range versions {
			if err := c.readVersion(found, path, version, current); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

func (c Case) readVersion(found *contents, path, version, current string) error {
	var answer struct {
		Data struct{ Data map[string]string }
	}
	status, err := c.get("data/"+path+"?version="+version, &answer)
	if err != nil {
		return err
	}
	kind, name, _ := strings.Cut(strings.TrimPrefix(path, c.Prefix+"/"), "/")
	place := fmt.Sprintf("version %s of %s", version, path)
	if status == http.StatusNotFound { // deleted, so that it could be undeleted
		if kind != "certs" {
			found.left = append(found.left, place+" is deleted, and not destroyed")
		}
		return nil
	}
	var keys []crypto.Signer
	for _, text := range answer.Data.Data {
		keys = append(keys, keysIn(text)...)
	}
	if kind != "accounts" {
		for _, key := range keys {
			found.keys[spki(key)] = true
		}
	}
	switch {
	case kind == "certs":
		found.certificates++
		leaf, why := pair([]byte(answer.Data.Data["tls.crt"]), []byte(answer.Data.Data["tls.key"]))
		if why != "" {
			found.mismatched = append(found.mismatched, place+": "+why)
		} else if version == current {
			found.current[name] = leaf.Raw
		}
	case kind != "accounts" && len(keys) > 0:
		found.left = append(found.left, place+" holds a key")
	}
	return nil
}

// keysIn finds the private keys in a text, also where that is JSON.
func keysIn(text string) (keys []crypto.Signer) {
	rest := []byte(strings.ReplaceAll(text, `\n`, "\n"))
	for {
		i := bytes.Index(rest, []byte("-----BEGIN"))
		if i < 0 {
			return keys
		}
		block, after := pem.Decode(rest[i:])
		if block == nil {
			rest = rest[i+1:]
			continue
		}
		rest = after
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			keys = append(keys, key.(crypto.Signer))
		}
	}
}

func spki(key crypto.Signer) string {
	text, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return ""
	}
	return string(text)
}

// walk calls visit with each path below a folder.
func (c Case) walk(folder string, visit func(path string) error) error {
	var answer struct {
		Data struct{ Keys []string }
	}
	status, err := c.get("metadata/"+folder+"?list=true", &answer)
	if err != nil || status == http.StatusNotFound {
		return err
	}
	for _, key := range answer.Data.Keys {
		step := visit
		if strings.HasSuffix(key, "/") {
			step = func(path string) error { return c.walk(path, visit) }
		}
		if err := step(folder + key); err != nil {
			return err
		}
	}
	return nil
}

// versions lists those of a path that are not destroyed, and names the current one.
func (c Case) versions(path string) (versions []string, current string, err error) {
	var answer struct {
		Data struct {
			Current  json.Number `json:"current_version"`
			Versions map[string]struct{ Destroyed bool }
		}
	}
	status, err := c.get("metadata/"+path, &answer)
	if err != nil || status == http.StatusNotFound {
		return nil, "", err
	}
	for _, version := range sortedKeys(answer.Data.Versions) {
		if !answer.Data.Versions[version].Destroyed {
			versions = append(versions, version)
		}
	}
	return versions, answer.Data.Current.String(), nil
}

// get asks Vault. That there is nothing is no error.
func (c Case) get(path string, into any) (status int, err error) {
	request, err := http.NewRequest(http.MethodGet, c.Vault+"/v1/"+c.Mount+"/"+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("X-Vault-Token", c.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("reading Vault: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err == nil && response.StatusCode == http.StatusOK:
		err = json.Unmarshal(text, into)
	case err == nil && response.StatusCode != http.StatusNotFound:
		err = errors.New(response.Status)
	}
	if err != nil {
		err = fmt.Errorf("reading Vault: %s: %w", path, err)
	}
	return response.StatusCode, err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
