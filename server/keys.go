// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// enterpriseKey reads the key that opens a tenant's record list; for the embedded
// platform it makes one when none is given.
func enterpriseKey(cfg Config, t tenantConfig) (talkcloud.Secret, error) {
	if t.enterpriseKeyFile != "" {
		text, err := os.ReadFile(t.enterpriseKeyFile)
		if err != nil {
			return "", err
		}
		key := strings.TrimSpace(string(text))
		if key == "" {
			return "", fmt.Errorf("%s is empty", t.enterpriseKeyFile)
		}
		return talkcloud.Secret(key), nil
	}
	key, err := keptSecret(cfg.path("enterprise.key"), 8, cfg.path("room")) // 16 characters, as the vendor's have
	return talkcloud.Secret(key), err
}

// sealingKey reads, or makes, the key that room passwords are kept under.
func sealingKey(cfg Config) (recording.Key, error) {
	var key recording.Key
	path, flag := cfg.path("seal.key"), ""
	read := func() (string, error) { return keptSecret(path, len(key), cfg.path("store")) }
	if cfg.SealKeyFile != "" { // several processes share it: none of them makes it
		path, flag = cfg.SealKeyFile, "--seal-key-file: "
		read = func() (string, error) { text, err := os.ReadFile(path); return strings.TrimSpace(string(text)), err }
	}
	text, err := read()
	if err != nil {
		return key, fmt.Errorf("%s%w", flag, err)
	}
	if n, err := hex.Decode(key[:], []byte(text)); err != nil || n != len(key) {
		return key, fmt.Errorf("%s%s: does not hold %d bytes in hex", flag, path, len(key))
	}
	return key, nil
}

// keptSecret reads the text of a file, or makes it: so many random bytes in
// hex. It makes none beside data that was made with another, which has been lost
// then: where one of the directories has something in it.
func keptSecret(path string, size int, data ...string) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(text))) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, dir := range data {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			return "", fmt.Errorf("--data-dir: %s is missing or empty, and %s has data that was made with it: put it back from a backup, or move the data away", path, dir)
		}
	}
	secret := make([]byte, size)
	if _, err := rand.Read(secret); err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	made := hex.EncodeToString(secret)
	return made, writeFile(path, []byte(made+"\n"), 0o600)
}

// writeFile writes a file whole or not at all: it is synced before it gets its
// name, and the name after that, so that it survives a power cut.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// The life of a self-signed certificate, and how much of it must be left for it
// to be used.
const (
	certificateLife = 10 * 365 * 24 * time.Hour
	certificateLeft = 24 * time.Hour
)

// roomCertName is the self-signed certificate in the data directory, and
// roomKeyName its key.
const (
	roomCertName = "room.crt"
	roomKeyName  = "room.key"
)

// roomCertificate sees to the embedded platform's certificate: where none is
// given, one of its own is made when there is none in the data directory, or none
// that is good for host and for a day more.
func roomCertificate(cfg Config, now time.Time) error {
	if cfg.RoomCertFile != "" {
		return nil
	}
	hosts := certificateHosts(cfg.RoomListen)
	certPath, keyPath := cfg.path(roomCertName), cfg.path(roomKeyName)
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil && goodFor(pair.Leaf, hosts, now) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the room server's certificate: %w", err)
	}
	certPEM, keyPEM, err := selfSigned(hosts, now)
	if err != nil {
		return fmt.Errorf("make the room server's certificate: %w", err)
	}
	// The key first: a certificate without its key would be read as broken.
	if err := errors.Join(removeIf(certPath), writeFile(keyPath, keyPEM, 0o600), writeFile(certPath, certPEM, 0o644)); err != nil {
		return fmt.Errorf("keep the room server's certificate: %w", err)
	}
	return nil
}

// removeIf removes a file if it is there.
func removeIf(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// certificateHosts are the names that the certificate is for.
func certificateHosts(listen string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "" {
		return hosts
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) || host == "localhost" {
		return hosts
	}
	return append(hosts, host)
}

func goodFor(leaf *x509.Certificate, hosts []string, now time.Time) bool {
	if leaf == nil || now.Add(certificateLeft).After(leaf.NotAfter) {
		return false
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

// selfSigned makes a certificate for hosts, and its key, as PEM.
func selfSigned(hosts []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "classrec room server"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// rootsFrom returns the system's roots and those of a PEM file.
func rootsFrom(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no PEM certificate", path)
	}
	return roots, nil
}
