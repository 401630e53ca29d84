// SPDX-License-Identifier: Apache-2.0

// Where the service is, for this page: '/', or what stands before it at a proxy that strips a prefix. Every address is
// made of it, and none begins with a slash.

export const base = new URL('..', import.meta.url).pathname;
