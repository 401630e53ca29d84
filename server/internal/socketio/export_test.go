// SPDX-License-Identifier: Apache-2.0

package socketio

// SplitEvent cuts the data of an event into its name and arguments.
var SplitEvent = splitEvent
