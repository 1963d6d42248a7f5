// The views of __consumer_offsets on a real disk: RocksDB.
#pragma once

#include "broker/coordinator/view_store.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace sluice {

// All of a view can be had again from its log, so nothing in it is synced and
// RocksDB keeps no log of its own: a process that dies leaves what was flushed,
// whole (GR7). What is damaged is renamed to "<path>.damaged", whatever it is (a
// file, a link that leads nowhere); the newest is kept. `env`: a test's disk that
// fails, under RocksDB.
coordinator::ViewStoreFiles MakeViewFiles(rocksdb::Env* env = nullptr);

}  // namespace sluice
