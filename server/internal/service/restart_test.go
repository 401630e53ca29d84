// SPDX-License-Identifier: Apache-2.0

package service_test

const childEnv = "CLASSREC_TEST_CHILD"

func runChild(string) error { return nil }
