// SPDX-License-Identifier: Apache-2.0

package auth

import "time"

// LetKeysBeAskedFor has time pass, so that issuers may be asked again.
func LetKeysBeAskedFor(a *Authenticator) {
	for _, is := range a.issuers {
		is.keys.mu.Lock()
		is.keys.tried = time.Time{}
		is.keys.mu.Unlock()
	}
}

// LetKeysBeStale has so much time pass that the keys that are known are old.
func LetKeysBeStale(a *Authenticator) {
	LetKeysBeAskedFor(a)
	for _, is := range a.issuers {
		is.keys.mu.Lock()
		is.keys.fetched = time.Now().Add(-time.Hour)
		is.keys.mu.Unlock()
	}
}

// AwaitKeys waits for the issuers that are being asked.
func AwaitKeys(a *Authenticator) {
	for _, is := range a.issuers {
		is.keys.mu.Lock()
		fetching := is.keys.fetching
		is.keys.mu.Unlock()
		if fetching != nil {
			<-fetching
		}
	}
}

// LetTokensBeRead has time pass, so that the file of tokens is looked at again.
func LetTokensBeRead(a *Authenticator) {
	a.tokens.mu.Lock()
	a.tokens.looked = time.Time{}
	a.tokens.mu.Unlock()
}
