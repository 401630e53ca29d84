// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// opener opens the database of one test, which is empty at first. A test that
// opens it again closes it first.
type opener func(t testing.TB, cfg store.Config) *store.Store

// conformance is what holds of a store, whatever database it is kept in.
var conformance = map[string]func(t *testing.T, open opener){ //nolint:gochecknoglobals // a table
	"Append_OneWinsPerRevision":                testAppend_OneWinsPerRevision,
	"Append_NoTwoLiveInARoom":                  testAppend_NoTwoLiveInARoom,
	"Append_ManyRoomsAtOnce":                   testAppend_ManyRoomsAtOnce,
	"Append_Refuses":                           testAppend_Refuses,
	"Append_OneOfARequestID":                   testAppend_OneOfARequestID,
	"Append_KeepsToItsContext":                 testAppend_KeepsToItsContext,
	"Append_RecordStaysTheCallers":             testAppend_RecordStaysTheCallers,
	"Append_LargeRecords":                      testAppend_LargeRecords,
	"Store_ReadsItsWrites":                     testStore_ReadsItsWrites,
	"Store_RoomNames":                          testStore_RoomNames,
	"Store_RequestIDs":                         testStore_RequestIDs,
	"Store_NotFound":                           testStore_NotFound,
	"Store_NameMoves":                          testStore_NameMoves,
	"Store_KnowsURL":                           testStore_KnowsURL,
	"Store_HistoryIDStays":                     testStore_HistoryIDStays,
	"Wait_SeesEachChange":                      testWait_SeesEachChange,
	"Wait_Ends":                                testWait_Ends,
	"List_PagesAreAsTheModelSays":              testList_PagesAreAsTheModelSays,
	"List_Edges":                               testList_Edges,
	"Reserve_Exact":                            testReserve_Exact,
	"Reserve_Release":                          testReserve_Release,
	"History":                                  testHistory,
	"Counts":                                   testCounts,
	"Watcher_Passed":                           testWatcher_Passed,
	"Webhooks_Endpoint":                        testWebhooks_Endpoint,
	"Webhooks_Deliveries":                      testWebhooks_Deliveries,
	"Webhooks_Order":                           testWebhooks_Order,
	"Webhooks_Read":                            testWebhooks_Read,
	"Watch_BeginsAfterWhatWasRead":             testWatch_BeginsAfterWhatWasRead,
	"Watch_TellsWhenItHasCaughtUp":             testWatch_TellsWhenItHasCaughtUp,
	"Watch_CaughtUpHasWhatCouldBeSeen":         testWatch_CaughtUpHasWhatCouldBeSeen,
	"Snapshot_GoesOnAsAWatch":                  testSnapshot_GoesOnAsAWatch,
	"Watch_SlowOneIsToldAndCostsOthersNothing": testWatch_SlowOneIsToldAndCostsOthersNothing,
	"Watch_SharesEntriesAndTheirEncoding":      testWatch_SharesEntriesAndTheirEncoding,
	"Watch_TenantsAndRoomsAreApart":            testWatch_TenantsAndRoomsAreApart,
	"Watch_Ends":                               testWatch_Ends,
	"Watch_ClosedWhileItReads":                 testWatch_ClosedWhileItReadsTheLog,
	"Watch_TooOldAndAhead":                     testWatch_TooOldAndAhead,
	"Watch_ReadsALongHistory":                  testWatch_ReadsALongLog,
	"Watch_CatchesUpWhileItIsReadQuickly":      testWatch_CatchesUpWhileItIsReadQuickly,
	"Retention_Age":                            testRetention_Age,
	"Retention_OvertakesReplay":                testRetention_OvertakesReplay,
	"Retention_Bytes":                          testRetention_Bytes,
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	for name, test := range conformance {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test(t, func(t testing.TB, cfg store.Config) *store.Store {
				t.Helper()
				cfg.Dir = dir
				return storetest.OpenConfig(t, cfg)
			})
		})
	}
}
