// SPDX-License-Identifier: Apache-2.0
//
// What both memtables use: RocksDB's names, the end of its keys, the orders of memory.

#pragma once

#include <atomic>
#include <cstddef>

#include "db/lookup_key.h"
#include "memory/allocator.h"
#include "memory/arena.h"
#include "rocksdb/memtablerep.h"
#include "rocksdb/utilities/object_registry.h"

namespace coney {

using rocksdb::Allocator;
using rocksdb::Arena;
using rocksdb::GetLengthPrefixedSlice;
using rocksdb::KeyHandle;
using rocksdb::Logger;
using rocksdb::LookupKey;
using rocksdb::MemTableRep;
using rocksdb::MemTableRepFactory;
using rocksdb::ObjectLibrary;
using rocksdb::Slice;
using rocksdb::SliceTransform;
using rocksdb::Status;

// An internal key ends with eight bytes: sequence number and type.
constexpr size_t kTrailerBytes = 8;
constexpr size_t kCacheLineBytes = 64;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

}  // namespace coney
