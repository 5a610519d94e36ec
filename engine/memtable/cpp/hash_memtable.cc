// SPDX-License-Identifier: Apache-2.0
//
// A memtable for point reads and writes: a hash table that also remembers the order of insertion,
// so that it can be sorted when somebody wants to iterate.
//
//   buckets   [ head ][ head ] ...    head -> newest entry of the bucket -> older -> ...
//   newest    -> the entry inserted last -> the one before it -> ...          (all entries)
//
// Insert: constant time, two stores. Get: one bucket. Iteration: the entries newer than the last
// sorted run are collected along `newest`, sorted, and merged with that run; the result is the
// next iterator's run. A flush pays for one sort, on a background thread; so does a SCAN. RocksDB's
// own hash memtables sort with a skip list instead, which costs several times as much, and RocksDB's
// skip list makes every insertion pay for an order that only the flush needs.
//
// For families with these properties only:
// - The comparator is bytewise: sorting compares the first eight bytes of keys as one number.
// - The first eight bytes of a key are as good as a hash of it, or the key is shorter. Coney's meta
//   keys begin with table, slot and a 32-bit hash of the user key.
// - One writer at a time (`allow_concurrent_memtable_write = false`). Readers are never blocked and
//   never block the writer; iterators wait for each other only while one of them sorts.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "db/lookup_key.h"
#include "memory/allocator.h"
#include "memory/arena.h"
#include "rocksdb/memtablerep.h"
#include "rocksdb/utilities/object_registry.h"

namespace {

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
constexpr size_t kBucketsMin = 1024;

// The first eight bytes as a big-endian number, zero-padded: orders like the bytes themselves.
uint64_t Prefix(const Slice& user_key) {
  unsigned char bytes[8] = {};
  memcpy(bytes, user_key.data(), std::min<size_t>(user_key.size(), 8));
  uint64_t prefix;
  memcpy(&prefix, bytes, 8);
  return __builtin_bswap64(prefix);
}

// Spreads keys that differ in few bits of their prefix over all buckets (Fibonacci hashing).
size_t Bucket(uint64_t prefix, unsigned shift) {
  return static_cast<size_t>((prefix * 0x9e3779b97f4a7c15ULL) >> shift);
}

Slice UserKeyOf(const Slice& internal_key) {
  return Slice(internal_key.data(), internal_key.size() - kTrailerBytes);
}

uint64_t TrailerOf(const Slice& internal_key) {
  uint64_t trailer;
  memcpy(&trailer, internal_key.data() + internal_key.size() - kTrailerBytes, kTrailerBytes);
  return trailer;  // RocksDB stores it in little endian; coney runs on little-endian hosts only.
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "see TrailerOf");

struct Entry {
  Entry* next_in_bucket;
  Entry* older;
  uint64_t prefix;
  // The key and value as RocksDB encodes them follow.
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }
};

struct Sorted {
  uint64_t prefix;
  const char* data;
};

// All entries up to and including `newest`, in order.
struct Run {
  const Entry* newest = nullptr;
  std::vector<Sorted> entries;
};

class HashMemtable : public MemTableRep {
 public:
  HashMemtable(const KeyComparator& compare, Allocator* allocator, size_t bucket_count)
      : MemTableRep(allocator), compare_(compare), run_(std::make_shared<Run>()) {
    unsigned bits = 1;
    while ((size_t{1} << bits) < std::max(bucket_count, kBucketsMin)) bits++;
    shift_ = 64 - bits;
    bucket_count_ = size_t{1} << bits;
    // Fresh zero pages from the system where possible: touched only when used.
    buckets_ = static_cast<std::atomic<Entry*>*>(calloc(bucket_count_, sizeof(*buckets_)));
    if (buckets_ == nullptr) throw std::bad_alloc();
  }

  ~HashMemtable() override { free(buckets_); }

  KeyHandle Allocate(const size_t len, char** buf) override {
    auto* entry = reinterpret_cast<Entry*>(allocator_->AllocateAligned(sizeof(Entry) + len));
    *buf = entry->data();
    return entry;
  }

  void Insert(KeyHandle handle) override {
    auto* entry = static_cast<Entry*>(handle);
    entry->prefix = Prefix(UserKeyOf(GetLengthPrefixedSlice(entry->data())));
    auto& head = buckets_[Bucket(entry->prefix, shift_)];
    entry->next_in_bucket = head.load(std::memory_order_relaxed);
    entry->older = newest_.load(std::memory_order_relaxed);
    // Readers that find the entry find it whole.
    head.store(entry, std::memory_order_release);
    newest_.store(entry, std::memory_order_release);
  }

  bool Contains(const char* key) const override {
    const Slice internal_key = GetLengthPrefixedSlice(key);
    const Slice user_key = UserKeyOf(internal_key);
    const uint64_t prefix = Prefix(user_key);
    for (const Entry* at = Head(prefix); at != nullptr; at = at->next_in_bucket) {
      if (at->prefix == prefix && GetLengthPrefixedSlice(at->data()) == internal_key) return true;
    }
    return false;
  }

  void Get(const LookupKey& key, void* args, bool (*callback)(void*, const char*)) override {
    Lookup(key.internal_key(), args, callback);
  }

  Status MultiGet(size_t count, const char* const* keys, void** args,
                  bool (*callback)(void*, const char*), bool, bool,
                  const std::function<Status(const char*, bool)>& validate) override {
    if (validate) return Status::NotSupported("key checksums are off");
    for (size_t i = 0; i < count; i++) {
      Lookup(GetLengthPrefixedSlice(keys[i]), args[i], callback);
    }
    return Status::OK();
  }

  // The allocator's memory is counted by RocksDB.
  size_t ApproximateMemoryUsage() override { return bucket_count_ * sizeof(*buckets_); }

  MemTableRep::Iterator* GetIterator(Arena* arena) override {
    if (arena == nullptr) return new Iterator(this);
    return new (arena->AllocateAligned(sizeof(Iterator))) Iterator(this);
  }

 private:
  const Entry* Head(uint64_t prefix) const {
    return buckets_[Bucket(prefix, shift_)].load(std::memory_order_acquire);
  }

  // Hands the versions of a key that are not newer than the lookup to `callback`, newest first,
  // until it has enough. A bucket holds the versions of a key in that order, because each new one
  // has a higher sequence number and comes to the front.
  void Lookup(const Slice& internal_key, void* args, bool (*callback)(void*, const char*)) const {
    const Slice user_key = UserKeyOf(internal_key);
    const uint64_t trailer = TrailerOf(internal_key);
    const uint64_t prefix = Prefix(user_key);
    for (const Entry* at = Head(prefix); at != nullptr; at = at->next_in_bucket) {
      if (at->prefix != prefix) continue;
      const Slice found = GetLengthPrefixedSlice(at->data());
      if (UserKeyOf(found) != user_key || TrailerOf(found) > trailer) continue;
      if (!callback(args, at->data())) return;
    }
  }

  // Everything inserted so far, in order.
  std::shared_ptr<const Run> SortedRun() {
    std::lock_guard<std::mutex> guard(run_mutex_);
    const Entry* newest = newest_.load(std::memory_order_acquire);
    if (run_->newest == newest) return run_;
    auto next = std::make_shared<Run>();
    next->newest = newest;
    std::vector<Sorted> fresh;
    for (const Entry* at = newest; at != run_->newest; at = at->older) {
      fresh.push_back({at->prefix, at->data()});
    }
    const auto before = [this](const Sorted& a, const Sorted& b) {
      return a.prefix != b.prefix ? a.prefix < b.prefix : compare_(a.data, b.data) < 0;
    };
    std::sort(fresh.begin(), fresh.end(), before);
    next->entries.resize(run_->entries.size() + fresh.size());
    std::merge(run_->entries.begin(), run_->entries.end(), fresh.begin(), fresh.end(),
               next->entries.begin(), before);
    run_ = next;
    return next;
  }

  class Iterator : public MemTableRep::Iterator {
   public:
    explicit Iterator(HashMemtable* table) : table_(table) {}

    bool Valid() const override { return run_ != nullptr && at_ < run_->entries.size(); }
    const char* key() const override { return run_->entries[at_].data; }
    void Next() override { at_++; }
    // Before the first entry lies the end, as in an empty table.
    void Prev() override { at_ = at_ == 0 ? run_->entries.size() : at_ - 1; }

    void Seek(const Slice& internal_key, const char*) override {
      Sort();
      const uint64_t prefix = Prefix(UserKeyOf(internal_key));
      const auto& compare = table_->compare_;
      const auto found = std::partition_point(
          run_->entries.begin(), run_->entries.end(), [&](const Sorted& entry) {
            if (entry.prefix != prefix) return entry.prefix < prefix;
            return compare(entry.data, internal_key) < 0;
          });
      at_ = static_cast<size_t>(found - run_->entries.begin());
    }

    void SeekForPrev(const Slice& internal_key, const char* memtable_key) override {
      Seek(internal_key, memtable_key);
      const bool is_there = Valid() && table_->compare_(key(), internal_key) == 0;
      if (!is_there) Prev();
    }

    void SeekToFirst() override {
      Sort();
      at_ = 0;
    }

    void SeekToLast() override {
      Sort();
      at_ = run_->entries.size();
      Prev();
    }

   private:
    // Once: what was inserted later is newer than the iterator's snapshot.
    void Sort() {
      if (run_ == nullptr) run_ = table_->SortedRun();
    }

    HashMemtable* table_;
    std::shared_ptr<const Run> run_;
    size_t at_ = 0;
  };

  const KeyComparator& compare_;
  unsigned shift_;
  size_t bucket_count_;
  std::atomic<Entry*>* buckets_;
  std::atomic<Entry*> newest_{nullptr};
  std::mutex run_mutex_;
  std::shared_ptr<const Run> run_;
};

class HashMemtableFactory : public MemTableRepFactory {
 public:
  explicit HashMemtableFactory(size_t bucket_count) : bucket_count_(bucket_count) {}

  static const char* kClassName() { return "ConeyHashMemtable"; }
  const char* Name() const override { return kClassName(); }

  MemTableRep* CreateMemTableRep(const MemTableRep::KeyComparator& compare, Allocator* allocator,
                                 const SliceTransform*, Logger*) override {
    return new HashMemtable(compare, allocator, bucket_count_);
  }

 private:
  size_t bucket_count_;
};

}  // namespace

// Makes the option `memtable_factory=ConeyHashMemtable:<buckets>` known to RocksDB.
extern "C" void coney_memtable_register() {
  auto pattern = ObjectLibrary::PatternEntry(HashMemtableFactory::kClassName(), true);
  pattern.AddNumber(":");
  ObjectLibrary::Default()->AddFactory<MemTableRepFactory>(
      pattern, [](const std::string& uri, std::unique_ptr<MemTableRepFactory>* guard, std::string*) {
        const auto colon = uri.find(':');
        const size_t buckets =
            colon == std::string::npos ? kBucketsMin : strtoull(uri.c_str() + colon + 1, nullptr, 10);
        guard->reset(new HashMemtableFactory(buckets));
        return guard->get();
      });
}
