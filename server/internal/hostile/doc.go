// SPDX-License-Identifier: Apache-2.0

// Package hostile is tests of what callers with bad intentions get from a whole server, and nothing else: connections that
// dawdle, headers and bodies without end, bombs, frames that make no sense, paths that lead out, names that would forge a
// log. While they are at it a normal caller is answered, and afterwards memory, goroutines and open files are what
// they were.
package hostile
