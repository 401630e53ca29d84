// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

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

// identityMark begins the plain text of every identity, so that one that was
// made elsewhere is told apart: by chance it is there once in 2^64.
const identityMark = "classrec"

// identity makes the user id under which the service enters a room for what seed
// names: always the same for the same seed, so that a class which is begun under
// it is ours whenever it is seen, in whichever life of whichever process. It has
// the form of those that the vendor's SDK makes.
func (k Key) identity(seed ...string) talkcloud.UserID {
	mac := hmac.New(sha256.New, k[:])
	for _, part := range append([]string{"classrec: identity"}, seed...) {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part)))
		mac.Write([]byte(part))
	}
	id := append([]byte(identityMark), mac.Sum(nil)[:aes.BlockSize-len(identityMark)]...)
	k.identityCipher().Encrypt(id, id)
	h := hex.EncodeToString(id)
	return talkcloud.UserID(strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
}

// made reports whether a user id is one that identity makes with this key.
func (k Key) made(user talkcloud.UserID) bool {
	if len(user) != 36 {
		return false
	}
	id, err := hex.DecodeString(strings.ReplaceAll(string(user), "-", ""))
	if err != nil || len(id) != aes.BlockSize {
		return false
	}
	k.identityCipher().Decrypt(id, id)
	return string(id[:len(identityMark)]) == identityMark
}

// identityCipher is of a key of its own.
func (k Key) identityCipher() cipher.Block {
	derived := k.Derive("classrec: identities")
	block, _ := aes.NewCipher(derived[:]) // 32 bytes are a key: it cannot fail
	return block
}

// requestHash identifies a request's payload: all of it but request_id, with
// what is a default left out, whether it was spelled out or not. The payload has
// the room's password in it, which a hash without a key would let anyone guess
// who reads the log.
func (c *Config) requestHash(req *classrecv1.StartRecordingRequest) ([]byte, error) {
	k := c.Key
	payload := c.withoutDefaults(req)
	payload.RequestId = ""
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("hash request: %w", err)
	}
	mac := hmac.New(sha256.New, k[:])
	mac.Write(raw)
	return mac.Sum(nil), nil
}

// withoutDefaults is a request with each field unset that asks for what holds
// without it.
func (c *Config) withoutDefaults(req *classrecv1.StartRecordingRequest) *classrecv1.StartRecordingRequest {
	r := proto.CloneOf(req)
	if recordType(r.GetRecordType()) == recordType(0) {
		r.RecordType = 0
	}
	if format(r.GetFormat()) == format(0) {
		r.Format = 0
	}
	if layout(r.GetLayout()) == layout(0) {
		r.Layout = 0
	}
	if r.GetRecordChat() {
		r.RecordChat = nil
	}
	if r.GetNickname() == c.Nickname {
		r.Nickname = ""
	}
	if r.MaxDuration != nil && r.GetMaxDuration().AsDuration() == c.MaxDuration {
		r.MaxDuration = nil
	}
	return r
}

func (k Key) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return cipher.NewGCM(block)
}
