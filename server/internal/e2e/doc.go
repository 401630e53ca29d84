// SPDX-License-Identifier: Apache-2.0

// Package e2e is the end-to-end tests, and nothing else: classrec as a whole against peers that others wrote. A page in
// Chromium does what the vendor's web SDK does on the wire, with the reference socket.io client; a platform in Node on
// the reference socket.io servers takes the place of TalkCloud; Chromium plays, and ffmpeg decodes, what was recorded;
// and the commands of the README are run as they stand there.
//
// The tests carry the build tag e2e, because they need Chromium, Node and ffmpeg (make setup-e2e installs them); without
// one of these they fail. What a single package does with one of these peers is tested in that package.
package e2e
