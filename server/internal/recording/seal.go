// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Key seals what the log must not show. All processes that share a log share
// the key.
type Key [32]byte

// Fingerprint tells keys apart, and nothing of the key.
func (k Key) Fingerprint() []byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("classrec: fingerprint of the sealing key"))
	return mac.Sum(nil)
}

// seal encrypts a password with AES-256-GCM, bound to the recording's id.
func (k Key) seal(id string, password talkcloud.Secret) ([]byte, error) {
	if password == "" {
		return nil, nil
	}
	gcm, err := k.gcm()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return gcm.Seal(nonce, nonce, []byte(password.Reveal()), []byte(id)), nil
}

// open is the reverse of seal. It fails when the key is another one.
func (k Key) open(id string, sealed []byte) (talkcloud.Secret, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	gcm, err := k.gcm()
	if err != nil {
		return "", err
	}
	n := gcm.NonceSize()
	if len(sealed) < n {
		return "", errors.New("sealed password is too short")
	}
	plain, err := gcm.Open(nil, sealed[:n], sealed[n:], []byte(id))
	if err != nil {
		return "", fmt.Errorf("open sealed password: %w", err)
	}
	return talkcloud.Secret(plain), nil
}

// requestHash identifies a request's payload: all of it but request_id. The
// payload has the room's password in it, which a hash without a key would let
// anyone guess who reads the log.
func (k Key) requestHash(req *classrecv1.StartRecordingRequest) ([]byte, error) {
	payload := proto.CloneOf(req)
	payload.RequestId = ""
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("hash request: %w", err)
	}
	mac := hmac.New(sha256.New, k[:])
	mac.Write(raw)
	return mac.Sum(nil), nil
}

func (k Key) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return cipher.NewGCM(block)
}
