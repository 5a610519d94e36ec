// SPDX-License-Identifier: Apache-2.0
//
// A memtable for point reads and writes: a hash table that also remembers the order of insertion,
// so that it can be sorted when somebody wants to iterate.
//
//   buckets   [ head ][ head ] ...    head -> newest entry of the bucket -> older -> ...
//   lanes     [ last ][ last ] ...    last -> the entry inserted last -> the one before it -> ...
//
// Each entry is in one bucket and in one lane, that of the thread which inserted it. Insert: constant
// time, two stores. Get: one bucket. Iteration: the entries inserted since the last iterator are
// collected along the lanes and sorted into a run; runs of similar size are merged, so
// that there are few and each entry is merged a logarithmic number of times, however often
// iterators are made while somebody writes. An iterator merges the runs as it goes. A flush pays
// for one sort, on a background thread. RocksDB's own hash memtables sort with a skip list
// instead, which costs several times as much, and RocksDB's skip list makes every insertion pay
// for an order that only the flush needs.
//
// For families with these properties only:
// - The comparator is bytewise: sorting compares the first eight bytes of keys as one number.
// - The first eight bytes of a key are as good as a hash of it, or the key is shorter. Coney's meta
//   keys begin with table, slot and a 32-bit hash of the user key.
//
// Several threads may insert at once: a bucket and a lane are lists at whose front an entry is put by
// comparing and swapping, and nothing is ever removed. Sequence numbers do not come in order then, so
// that a new entry may have its place behind some that are newer. Where RocksDB says that a thread is
// alone, plain stores do, between which the processor can wait for several cache lines at once.
// Readers are never blocked and never block a writer; iterators wait for each other only while one of
// them sorts.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memtable.h"

namespace {

using namespace coney;

constexpr size_t kBucketsMin = 1024;
// Threads that write at once should be fewer; more are still right.
constexpr size_t kLanes = 16;

// The lane of this thread.
size_t Lane() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t lane = threads.fetch_add(1, kRelaxed) % kLanes;
  return lane;
}

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
  std::atomic<Entry*> next_in_bucket;
  Entry* next_in_lane;
  uint64_t prefix;
  // The key and value as RocksDB encodes them follow.
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  uint64_t trailer() const { return TrailerOf(GetLengthPrefixedSlice(data())); }
};

struct alignas(kCacheLineBytes) LaneEnd {
  std::atomic<Entry*> last{nullptr};
};
// The last entry of each lane at some moment.
using LaneEnds = std::array<const Entry*, kLanes>;

struct Sorted {
  uint64_t prefix;
  const char* data;
};

// Entries in order.
using Run = std::vector<Sorted>;
// Runs of falling size that together hold all entries up to some moment.
using Runs = std::vector<std::shared_ptr<const Run>>;

class HashMemtable : public MemTableRep {
 public:
  HashMemtable(const KeyComparator& compare, Allocator* allocator, size_t bucket_count)
      : MemTableRep(allocator), compare_(compare) {
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
    auto* entry = new (allocator_->AllocateAligned(sizeof(Entry) + len)) Entry;
    *buf = entry->data();
    return entry;
  }

  void Insert(KeyHandle handle) override {
    auto* entry = static_cast<Entry*>(handle);
    auto& head = BucketOf(entry);
    entry->next_in_bucket.store(head.load(kRelaxed), kRelaxed);
    auto& last = lanes_[Lane()].last;
    entry->next_in_lane = last.load(kRelaxed);
    // Readers that find the entry find it whole.
    head.store(entry, kRelease);
    last.store(entry, kRelease);
  }

  void InsertConcurrently(KeyHandle handle) override {
    auto* entry = static_cast<Entry*>(handle);
    const uint64_t trailer = entry->trailer();
    std::atomic<Entry*>* link = &BucketOf(entry);
    Entry* next = link->load(kAcquire);
    do {
      // Mostly the first one is older; another thread may just have put newer ones there.
      while (next != nullptr && next->trailer() > trailer) {
        link = &next->next_in_bucket;
        next = link->load(kAcquire);
      }
      entry->next_in_bucket.store(next, kRelaxed);
    } while (!link->compare_exchange_weak(next, entry, kRelease, kAcquire));
    auto& last = lanes_[Lane()].last;
    entry->next_in_lane = last.load(kRelaxed);
    while (!last.compare_exchange_weak(entry->next_in_lane, entry, kRelease, kRelaxed)) {
    }
  }

  bool Contains(const char* key) const override {
    const Slice internal_key = GetLengthPrefixedSlice(key);
    const Slice user_key = UserKeyOf(internal_key);
    const uint64_t prefix = Prefix(user_key);
    for (const Entry* at = Head(prefix); at != nullptr; at = Next(at)) {
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
    return buckets_[Bucket(prefix, shift_)].load(kAcquire);
  }

  static const Entry* Next(const Entry* entry) { return entry->next_in_bucket.load(kAcquire); }

  // The bucket of a new entry, whose prefix is noted.
  std::atomic<Entry*>& BucketOf(Entry* entry) {
    entry->prefix = Prefix(UserKeyOf(GetLengthPrefixedSlice(entry->data())));
    return buckets_[Bucket(entry->prefix, shift_)];
  }

  // Hands the versions of a key that are not newer than the lookup to `callback`, newest first,
  // until it has enough. A bucket holds the versions of a key in that order.
  void Lookup(const Slice& internal_key, void* args, bool (*callback)(void*, const char*)) const {
    const Slice user_key = UserKeyOf(internal_key);
    const uint64_t trailer = TrailerOf(internal_key);
    const uint64_t prefix = Prefix(user_key);
    for (const Entry* at = Head(prefix); at != nullptr; at = Next(at)) {
      if (at->prefix != prefix) continue;
      const Slice found = GetLengthPrefixedSlice(at->data());
      if (UserKeyOf(found) != user_key || TrailerOf(found) > trailer) continue;
      if (!callback(args, at->data())) return;
    }
  }

  bool Before(const Sorted& a, const Sorted& b) const {
    return a.prefix != b.prefix ? a.prefix < b.prefix : compare_(a.data, b.data) < 0;
  }

  // Everything inserted so far.
  Runs SortedRuns() {
    std::lock_guard<std::mutex> guard(runs_mutex_);
    LaneEnds ends;
    for (size_t lane = 0; lane < kLanes; lane++) ends[lane] = lanes_[lane].last.load(kAcquire);
    if (ends == sorted_up_to_) return runs_;
    const auto before = [this](const Sorted& a, const Sorted& b) { return Before(a, b); };
    auto fresh = std::make_shared<Run>();
    for (size_t lane = 0; lane < kLanes; lane++) {
      for (const Entry* at = ends[lane]; at != sorted_up_to_[lane]; at = at->next_in_lane) {
        fresh->push_back({at->prefix, at->data()});
      }
    }
    std::sort(fresh->begin(), fresh->end(), before);
    sorted_up_to_ = ends;
    std::shared_ptr<const Run> last = std::move(fresh);
    while (!runs_.empty() && runs_.back()->size() <= 2 * last->size()) {
      const Run& older = *runs_.back();
      auto merged = std::make_shared<Run>(older.size() + last->size());
      std::merge(older.begin(), older.end(), last->begin(), last->end(), merged->begin(), before);
      last = std::move(merged);
      runs_.pop_back();
    }
    runs_.push_back(std::move(last));
    return runs_;
  }

  // For each run a position: the first entry that does not come before the current one, which is
  // the least of them. No two entries are equal, because their sequence numbers differ.
  class Iterator : public MemTableRep::Iterator {
   public:
    explicit Iterator(HashMemtable* table) : table_(table) {}

    bool Valid() const override { return current_ != kNone; }
    const char* key() const override { return At(current_).data; }

    void Next() override {
      at_[current_]++;
      Settle();
    }

    void Prev() override {
      size_t best = kNone;
      for (size_t run = 0; run < runs_.size(); run++) {
        if (at_[run] == 0) continue;
        if (best == kNone ||
            table_->Before((*runs_[best])[at_[best] - 1], (*runs_[run])[at_[run] - 1])) {
          best = run;
        }
      }
      if (best != kNone) at_[best]--;
      current_ = best;
    }

    void Seek(const Slice& internal_key, const char*) override {
      Sort();
      const uint64_t prefix = Prefix(UserKeyOf(internal_key));
      const auto& compare = table_->compare_;
      for (size_t run = 0; run < runs_.size(); run++) {
        const auto found =
            std::partition_point(runs_[run]->begin(), runs_[run]->end(), [&](const Sorted& entry) {
              if (entry.prefix != prefix) return entry.prefix < prefix;
              return compare(entry.data, internal_key) < 0;
            });
        at_[run] = static_cast<size_t>(found - runs_[run]->begin());
      }
      Settle();
    }

    void SeekForPrev(const Slice& internal_key, const char* memtable_key) override {
      Seek(internal_key, memtable_key);
      const bool is_there = Valid() && table_->compare_(key(), internal_key) == 0;
      if (!is_there) Prev();
    }

    void SeekToFirst() override {
      Sort();
      std::fill(at_.begin(), at_.end(), 0);
      Settle();
    }

    void SeekToLast() override {
      Sort();
      for (size_t run = 0; run < runs_.size(); run++) at_[run] = runs_[run]->size();
      Prev();
    }

   private:
    static constexpr size_t kNone = SIZE_MAX;

    const Sorted& At(size_t run) const { return (*runs_[run])[at_[run]]; }

    // Once: what was inserted later is newer than the iterator's snapshot.
    void Sort() {
      if (is_sorted_) return;
      is_sorted_ = true;
      runs_ = table_->SortedRuns();
      at_.resize(runs_.size());
    }

    void Settle() {
      current_ = kNone;
      for (size_t run = 0; run < runs_.size(); run++) {
        if (at_[run] == runs_[run]->size()) continue;
        if (current_ == kNone || table_->Before(At(run), At(current_))) current_ = run;
      }
    }

    HashMemtable* table_;
    bool is_sorted_ = false;
    Runs runs_;
    std::vector<size_t> at_;
    size_t current_ = kNone;
  };

  const KeyComparator& compare_;
  unsigned shift_;
  size_t bucket_count_;
  std::atomic<Entry*>* buckets_;
  std::array<LaneEnd, kLanes> lanes_;
  std::mutex runs_mutex_;
  Runs runs_;
  // Up to where the runs hold the lanes.
  LaneEnds sorted_up_to_{};
};

class HashMemtableFactory : public MemTableRepFactory {
 public:
  explicit HashMemtableFactory(size_t bucket_count) : bucket_count_(bucket_count) {}

  static const char* kClassName() { return "ConeyHashMemtable"; }
  const char* Name() const override { return kClassName(); }

  bool IsInsertConcurrentlySupported() const override { return true; }

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
