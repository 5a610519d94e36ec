// SPDX-License-Identifier: Apache-2.0
//
// A memtable for ranges: a B+tree whose readers take no locks, and whose writers lock what they change.
//
//   inner   [ digest | key | child ] ...    child i holds the keys from key i to before key i+1
//   leaf    [ digest | key ] ...            in order; key points to RocksDB's encoded entry
//
// RocksDB's skip list follows a pointer to a cold cache line for each comparison, about twenty of
// them among a million entries, on each insertion and on each lookup. Here a node holds, side by
// side, eight bytes of each of its keys: those behind the prefix that all keys of the node share
// (its *digests*). Five comparisons within a few cache lines choose a child, and four levels hold a
// million entries; whole keys are compared only where digests are equal.
//
// What all keys of a node share follows from its bounds, the keys around it in its parent: a key
// between two that begin alike begins like them. A node at an edge of the tree (the root is one) has
// no bound on one side: its prefix is what its present keys share, a search first compares it with
// what is searched for, and a new key that begins otherwise makes it shorter.
//
// **Readers.** Each node has a version, which is odd while a writer changes the node. A reader
// notes the version, searches, and looks at it again; if it has changed, it begins anew at the root.
// On the way down it looks at the parent's version again once it knows the child's, so that it sees a
// split in both nodes or in none. Entries and nodes are never freed before the memtable, and what a
// reader finds in a node that changes is always a pointer to a whole entry or node, if not the right
// one. A reader waits for a writer only while that one changes the very node, some hundred
// nanoseconds. An iterator copies one leaf after the other: what a writer adds to a leaf meanwhile
// is newer than the iterator's snapshot.
//
// **Writers.** Several may insert at once. Each finds its place as a reader does, and then locks the nodes
// that change, the leaf and, if it is full, those above it up to one with room, by making their versions
// odd, from the top down. It does so only if a node still has the version that it had on the way
// down: then all that was found there holds. If one has another, it gives back what it has locked, and
// begins anew at the root. Nobody waits for a lock with another one in hand.
//
// For families with a bytewise comparator.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>

#include "memtable.h"

namespace {

using namespace coney;

constexpr uint32_t kFanout = 32;
// Levels of inner nodes. Each has two children at least, and most have many more.
constexpr size_t kHeightMax = 40;
// The digests of a node are made anew if its keys share so many more bytes than they skip: until
// then, four of the eight bytes tell keys apart.
constexpr size_t kSkipStep = 4;
// Once a leaf at an edge has so many keys, what they share is skipped.
constexpr uint32_t kEdgeKeys = 8;
// How many entries ahead an iterator fetches.
constexpr uint32_t kEntriesAhead = 4;
// How often a reader looks at a node that changes before it lets other threads run.
constexpr unsigned kSpins = 64;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "see Key");

// An internal key taken apart.
struct Key {
  const char* data;
  size_t len;  // of the user key
  uint64_t trailer;

  explicit Key(const Slice& internal_key)
      : data(internal_key.data()), len(internal_key.size() - kTrailerBytes) {
    memcpy(&trailer, data + len, kTrailerBytes);
  }
  explicit Key(const char* entry) : Key(GetLengthPrefixedSlice(entry)) {}

  // The eight bytes from `skip` on as a big-endian number, zero-padded: orders like the bytes.
  uint64_t Digest(size_t skip) const {
    uint64_t digest = 0;
    if (len >= skip + 8) {
      memcpy(&digest, data + skip, 8);
    } else if (len > skip) {
      memcpy(&digest, data + skip, len - skip);
    }
    return __builtin_bswap64(digest);
  }

  // By user key, then the newest first, as RocksDB orders them.
  bool Before(const Key& other) const {
    const int order = memcmp(data, other.data, std::min(len, other.len));
    if (order != 0) return order < 0;
    if (len != other.len) return len < other.len;
    return trailer > other.trailer;
  }
};

size_t CommonPrefix(const Key& a, const Key& b) {
  const size_t end = std::min(a.len, b.len);
  return static_cast<size_t>(std::mismatch(a.data, a.data + end, b.data).first - a.data);
}

struct Node {
  std::atomic<uint32_t> version{0};
  std::atomic<uint32_t> count{0};
  // Bytes in front of the digests.
  std::atomic<uint32_t> skip{0};
  // It has no bound on one side.
  std::atomic<bool> is_edge{true};
  const bool is_leaf;
  // Where the last entry was inserted. Of who has locked the node.
  uint32_t last_at = kFanout;
  std::atomic<uint64_t> digests[kFanout];
  // Of an inner node, the first is not used: what is before the second is in the first child.
  std::atomic<const char*> keys[kFanout];

  explicit Node(bool leaf) : is_leaf(leaf) {}

  // The number of keys from `first` on that come before `key`, plus `first`.
  uint32_t LowerBound(uint32_t first, const Key& key) const {
    const uint32_t end = count.load(kAcquire);
    if (end <= first) return first;
    const size_t prefix_len = skip.load(kRelaxed);
    if (is_edge.load(kRelaxed) && prefix_len > 0) {
      const Key any(keys[first].load(kAcquire));
      const size_t compared = std::min({key.len, prefix_len, any.len});
      const int order = memcmp(key.data, any.data, compared);
      if (order < 0 || (order == 0 && key.len < prefix_len)) return first;
      if (order > 0) return end;
    }
    const uint64_t digest = key.Digest(prefix_len);
    uint32_t low = first;
    for (uint32_t len = end - first; len > 0;) {
      const uint32_t half = len / 2;
      const bool is_before = digests[low + half].load(kRelaxed) < digest;
      low = is_before ? low + half + 1 : low;
      len = is_before ? len - half - 1 : half;
    }
    uint32_t high = low;
    while (high < end && digests[high].load(kRelaxed) == digest) high++;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      if (Key(keys[middle].load(kAcquire)).Before(key)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  // Fetches what a search looks at, all of it at once.
  void Prefetch() const {
    const char* begin = reinterpret_cast<const char*>(this);
    const char* end = reinterpret_cast<const char*>(digests + kFanout);
    for (const char* line = begin; line < end; line += kCacheLineBytes) __builtin_prefetch(line);
    __builtin_prefetch(end - 1);
  }

  // The first key that is used.
  uint32_t First() const { return is_leaf ? 0 : 1; }

  void MakeDigests(size_t new_skip) {
    const uint32_t first = First();
    skip.store(static_cast<uint32_t>(new_skip), kRelaxed);
    for (uint32_t at = first; at < count.load(kRelaxed); at++) {
      digests[at].store(Key(keys[at].load(kRelaxed)).Digest(new_skip), kRelaxed);
    }
  }
};

struct Inner : Node {
  std::atomic<Node*> children[kFanout];

  Inner() : Node(false) {}

  // The child for `key`; or, if `is_before`, for what comes right before it.
  uint32_t ChildFor(const Key& key, bool is_before) const {
    const uint32_t at = LowerBound(1, key);
    if (is_before || at >= count.load(kAcquire)) return at - 1;
    // Only a separator with the same digest can be the key itself.
    if (digests[at].load(kRelaxed) != key.Digest(skip.load(kRelaxed))) return at - 1;
    const Key separator(keys[at].load(kAcquire));
    return key.Before(separator) ? at - 1 : at;
  }
};

// A node on the way from the root to a leaf.
struct Step {
  Node* node;
  uint32_t version;
  // The child that was taken.
  uint32_t child;
  // The bounds of the node: its first entry and the one after its last, if there are such. They hold as
  // long as the node has this version.
  const char* low;
  const char* high;
};

// The way of a reader or a writer. The leaf is the step behind the inner ones.
struct Path {
  Step steps[kHeightMax + 1];
  size_t height;

  const Step& leaf() const { return steps[height]; }
  Inner* inner(size_t level) const { return static_cast<Inner*>(steps[level].node); }
};

enum class Place { kAt, kBefore, kFirst, kLast };

class TreeMemtable : public MemTableRep {
 public:
  explicit TreeMemtable(Allocator* allocator)
      : MemTableRep(allocator), root_(New<Node>(true)) {}

  KeyHandle Allocate(const size_t len, char** buf) override {
    *buf = allocator_->Allocate(len);
    return *buf;
  }

  void Insert(KeyHandle handle) override { InsertConcurrently(handle); }

  void InsertConcurrently(KeyHandle handle) override {
    const char* entry = static_cast<const char*>(handle);
    const Key key(entry);
    while (!TryInsert(entry, key)) {
    }
  }

  bool Contains(const char* entry) const override {
    const Key key(entry);
    const char* found = FirstFrom(key, false);
    return found != nullptr && !key.Before(Key(found));
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

  // All of it is the allocator's memory, which RocksDB counts.
  size_t ApproximateMemoryUsage() override { return 0; }

  MemTableRep::Iterator* GetIterator(Arena* arena) override {
    if (arena == nullptr) return new Iterator(this);
    return new (arena->AllocateAligned(sizeof(Iterator))) Iterator(this);
  }

 private:
  template <typename T, typename... Args>
  T* New(Args... args) {
    return new (allocator_->AllocateAligned(sizeof(T))) T(args...);
  }

  // Locks a node, if what was read of it since it had this version is all of that version.
  static bool TryLock(const Step& step) {
    std::atomic_thread_fence(kAcquire);
    uint32_t version = step.version;
    const bool is_locked = step.node->version.compare_exchange_strong(version, version + 1, kRelaxed);
    // What is written to the node comes after that.
    std::atomic_thread_fence(kRelease);
    return is_locked;
  }

  static void Unlock(Node* node) { node->version.store(node->version.load(kRelaxed) + 1, kRelease); }

  // The version of a node that is not changed just now.
  static uint32_t StableVersion(const Node* node) {
    for (unsigned spins = 0;; spins++) {
      const uint32_t version = node->version.load(kAcquire);
      if ((version & 1) == 0) return version;
      if (spins >= kSpins) std::this_thread::yield();
    }
  }

  // Whether what was read of a node since it had this version was all of that version.
  static bool IsStill(const Step& step) {
    std::atomic_thread_fence(kAcquire);
    return step.node->version.load(kRelaxed) == step.version;
  }

  bool TryDescend(Path* path, Place place, const Key* key) const {
    Node* root = root_.load(kAcquire);
    path->height = 0;
    path->steps[0] = {root, StableVersion(root), 0, nullptr, nullptr};
    if (root_.load(kAcquire) != root) return false;
    for (;;) {
      Step& step = path->steps[path->height];
      if (step.node->is_leaf) return true;
      auto* inner = static_cast<Inner*>(step.node);
      const uint32_t count = inner->count.load(kAcquire);
      uint32_t at = 0;
      switch (place) {
        case Place::kAt: at = inner->ChildFor(*key, false); break;
        case Place::kBefore: at = inner->ChildFor(*key, true); break;
        case Place::kFirst: break;
        case Place::kLast: at = count - 1; break;
      }
      Node* child = inner->children[at].load(kAcquire);
      const char* low = at > 0 ? inner->keys[at].load(kAcquire) : step.low;
      const char* high = at + 1 < count ? inner->keys[at + 1].load(kAcquire) : step.high;
      child->Prefetch();
      const uint32_t version = StableVersion(child);
      if (!IsStill(step) || path->height == kHeightMax) return false;
      step.child = at;
      path->steps[++path->height] = {child, version, 0, low, high};
    }
  }

  // What is read of the leaf is to be checked by `IsStill` or `TryLock`.
  void Descend(Path* path, Place place, const Key* key) const {
    while (!TryDescend(path, place, key)) {
    }
  }

  // The first entry that does not come before `key`, or, if `is_after`, comes after it.
  const char* FirstFrom(const Key& key, bool is_after) const {
    for (;;) {
      Path path;
      Descend(&path, Place::kAt, &key);
      const Node* leaf = path.leaf().node;
      uint32_t at = leaf->LowerBound(0, key);
      const uint32_t count = leaf->count.load(kAcquire);
      if (is_after && at < count) at++;
      const char* found = at < count ? leaf->keys[at].load(kAcquire) : path.leaf().high;
      if (IsStill(path.leaf())) return found;
    }
  }

  // The first entry that does not come before `key`, if it may be of the same user key: mostly the
  // digests tell that it is not, and then the entry, a cold cache line, is not looked at.
  const char* FirstOf(const Key& key) const {
    for (;;) {
      Path path;
      Descend(&path, Place::kAt, &key);
      const Node* leaf = path.leaf().node;
      const uint32_t at = leaf->LowerBound(0, key);
      const char* found = path.leaf().high;
      if (at < leaf->count.load(kAcquire)) {
        const bool is_other =
            leaf->digests[at].load(kRelaxed) != key.Digest(leaf->skip.load(kRelaxed));
        found = is_other ? nullptr : leaf->keys[at].load(kAcquire);
      }
      if (IsStill(path.leaf())) return found;
    }
  }

  // Hands the versions of a key that are not newer than the lookup to `callback`, newest first,
  // until it has enough; it has when it gets another key.
  void Lookup(const Slice& internal_key, void* args, bool (*callback)(void*, const char*)) const {
    const char* found = FirstOf(Key(internal_key));
    while (found != nullptr && callback(args, found)) found = FirstFrom(Key(found), true);
  }

  // Makes room at `at` of a node with less than all places taken, and puts a key there.
  static void InsertAt(Node* node, uint32_t at, const char* entry, const Key& key) {
    const uint32_t count = node->count.load(kRelaxed);
    if (node->is_edge.load(kRelaxed)) {
      const uint32_t first = node->First();
      const size_t shared =
          count > first ? CommonPrefix(key, Key(node->keys[first].load(kRelaxed))) : key.len;
      if (shared < node->skip.load(kRelaxed)) node->MakeDigests(shared);
    }
    for (uint32_t to = count; to > at; to--) {
      node->digests[to].store(node->digests[to - 1].load(kRelaxed), kRelaxed);
      node->keys[to].store(node->keys[to - 1].load(kRelaxed), kRelease);
    }
    node->digests[at].store(key.Digest(node->skip.load(kRelaxed)), kRelaxed);
    node->keys[at].store(entry, kRelease);
    node->count.store(count + 1, kRelease);
    node->last_at = at;
    if (count + 1 == kEdgeKeys && node->is_edge.load(kRelaxed)) NarrowEdge(node);
  }

  static void InsertChild(Inner* node, uint32_t at, const char* separator, Node* child) {
    for (uint32_t to = node->count.load(kRelaxed); to > at; to--) {
      node->children[to].store(node->children[to - 1].load(kRelaxed), kRelease);
    }
    node->children[at].store(child, kRelease);
    InsertAt(node, at, separator, Key(separator));
    if (node->is_edge.load(kRelaxed)) NarrowEdge(node);
  }

  // Makes the digests of a node with new bounds anew, if that is worth it, or if what its keys share
  // was no more than chance.
  static void Narrow(Node* node, const char* low, const char* high) {
    if (low == nullptr || high == nullptr) {
      NarrowEdge(node);
      return;
    }
    const size_t shared = CommonPrefix(Key(low), Key(high));
    const size_t skip = node->skip.load(kRelaxed);
    node->is_edge.store(false, kRelaxed);
    if (shared < skip || shared >= skip + kSkipStep) node->MakeDigests(shared);
  }

  static void NarrowEdge(Node* node) {
    const uint32_t first = node->First();
    const uint32_t count = node->count.load(kRelaxed);
    if (count < first + 2) return;
    const size_t shared =
        CommonPrefix(Key(node->keys[first].load(kRelaxed)), Key(node->keys[count - 1].load(kRelaxed)));
    if (shared >= node->skip.load(kRelaxed) + kSkipStep) node->MakeDigests(shared);
  }

  // Moves what is at `from` and after it to an empty node, which readers do not know yet.
  static void MoveTail(Node* node, uint32_t from, Node* right) {
    const uint32_t count = node->count.load(kRelaxed);
    for (uint32_t at = from; at < count; at++) {
      right->digests[at - from].store(node->digests[at].load(kRelaxed), kRelaxed);
      right->keys[at - from].store(node->keys[at].load(kRelaxed), kRelaxed);
      if (!node->is_leaf) {
        static_cast<Inner*>(right)->children[at - from].store(
            static_cast<Inner*>(node)->children[at].load(kRelaxed), kRelaxed);
      }
    }
    right->skip.store(node->skip.load(kRelaxed), kRelaxed);
    right->is_edge.store(node->is_edge.load(kRelaxed), kRelaxed);
    right->count.store(count - from, kRelaxed);
    node->count.store(from, kRelease);
  }

  // `false`: another writer changed a node on the way.
  bool TryInsert(const char* entry, const Key& key) {
    Path path;
    Descend(&path, Place::kAt, &key);
    Node* leaf = path.leaf().node;
    const uint32_t at = leaf->LowerBound(0, key);
    if (leaf->count.load(kRelaxed) == kFanout) return TrySplit(path, at, entry, key);
    if (!TryLock(path.leaf())) return false;
    InsertAt(leaf, at, entry, key);
    Unlock(leaf);
    return true;
  }

  // Locks the nodes of a path from a level to the leaf, or none.
  static bool TryLockFrom(const Path& path, size_t top) {
    for (size_t level = top; level <= path.height; level++) {
      if (TryLock(path.steps[level])) continue;
      UnlockFrom(path, top, level);
      return false;
    }
    return true;
  }

  static void UnlockFrom(const Path& path, size_t top, size_t end) {
    for (size_t level = end; level-- > top;) Unlock(path.steps[level].node);
  }

  // Inserts at `at` of a leaf that is full. All nodes that change are locked before the first one
  // changes. `false`: another writer changed one of them.
  bool TrySplit(const Path& path, uint32_t at, const char* entry, const Key& key) {
    size_t top = path.height;
    while (top > 0 && path.steps[top - 1].node->count.load(kRelaxed) == kFanout) top--;
    // The node above `top` has room; if there is none, the root is split and a new one comes above it.
    top = top > 0 ? top - 1 : 0;
    if (!TryLockFrom(path, top)) return false;
    Node* leaf = path.leaf().node;
    // Entries that come in order leave full leaves behind.
    const bool is_sequence = at == leaf->last_at || at == leaf->last_at + 1;
    const uint32_t middle = is_sequence ? at : kFanout / 2;
    Node* right = New<Node>(true);
    MoveTail(leaf, middle, right);
    if (at < middle || (at == middle && middle < kFanout)) {
      InsertAt(leaf, at, entry, key);
    } else {
      InsertAt(right, at - middle, entry, key);
    }
    const char* separator = right->keys[0].load(kRelaxed);
    Narrow(leaf, path.leaf().low, separator);
    Narrow(right, separator, path.leaf().high);
    AddChild(path, right, separator);
    UnlockFrom(path, top, path.height + 1);
    return true;
  }

  // Enters `right`, whose first key is `separator`, behind the leaf of the path.
  void AddChild(const Path& path, Node* right, const char* separator) {
    Node* left = path.leaf().node;
    for (size_t level = path.height; level-- > 0;) {
      const Step& step = path.steps[level];
      Inner* parent = path.inner(level);
      const uint32_t at = step.child + 1;
      left = parent;
      if (parent->count.load(kRelaxed) < kFanout) {
        InsertChild(parent, at, separator, right);
        return;
      }
      const bool is_sequence = at == kFanout;
      const uint32_t middle = is_sequence ? kFanout - 1 : kFanout / 2;
      auto* sibling = New<Inner>();
      MoveTail(parent, middle, sibling);
      // The first key of an inner node is the bound to its left.
      const char* bound = sibling->keys[0].load(kRelaxed);
      if (at <= middle) {
        InsertChild(parent, at, separator, right);
      } else {
        InsertChild(sibling, at - middle, separator, right);
      }
      Narrow(parent, step.low, bound);
      Narrow(sibling, bound, step.high);
      right = sibling;
      separator = bound;
    }
    auto* root = New<Inner>();
    root->children[0].store(left, kRelaxed);
    root->count.store(1, kRelaxed);
    InsertChild(root, 1, separator, right);
    root_.store(root, kRelease);
  }

  class Iterator : public MemTableRep::Iterator {
   public:
    explicit Iterator(const TreeMemtable* tree) : tree_(tree) {}

    bool Valid() const override { return at_ < count_; }
    const char* key() const override { return keys_[at_]; }

    void Next() override {
      at_++;
      GoOn();
      Prefetch(at_ + kEntriesAhead);
    }

    void Prev() override {
      if (at_ > 0) {
        at_--;
        if (at_ >= kEntriesAhead) Prefetch(at_ - kEntriesAhead);
      } else if (low_ == nullptr) {
        count_ = 0;
      } else {
        const Key low(low_);
        Load(Place::kBefore, &low);
        // What was added since, up to the old bound, is newer than the snapshot.
        at_ = count_ - 1;
      }
    }

    void Seek(const Slice& internal_key, const char*) override {
      const Key key(internal_key);
      Load(Place::kAt, &key);
      GoOn();
    }

    void SeekForPrev(const Slice& internal_key, const char* memtable_key) override {
      Seek(internal_key, memtable_key);
      if (!Valid()) {
        SeekToLast();
      } else if (Key(internal_key).Before(Key(key()))) {
        Prev();
      }
    }

    void SeekToFirst() override {
      Load(Place::kFirst, nullptr);
      at_ = 0;
    }

    void SeekToLast() override {
      Load(Place::kLast, nullptr);
      at_ = count_ > 0 ? count_ - 1 : 0;
    }

   private:
    // Copies a leaf and goes to the first of its entries that does not come before `key`.
    void Load(Place place, const Key* key) {
      for (;;) {
        Path path;
        tree_->Descend(&path, place, key);
        const Node* leaf = path.leaf().node;
        count_ = leaf->count.load(kAcquire);
        for (uint32_t at = 0; at < count_; at++) keys_[at] = leaf->keys[at].load(kAcquire);
        at_ = place == Place::kAt ? leaf->LowerBound(0, *key) : 0;
        low_ = path.leaf().low;
        high_ = path.leaf().high;
        if (IsStill(path.leaf())) break;
      }
      for (uint32_t ahead = 0; ahead < kEntriesAhead; ahead++) Prefetch(at_ + ahead);
    }

    // Fetches an entry that comes soon: where entries came in another order than that of their keys,
    // each is a cold cache line.
    void Prefetch(uint32_t at) const {
      if (at < count_) {
        __builtin_prefetch(keys_[at]);
        __builtin_prefetch(keys_[at] + kCacheLineBytes);
      }
    }

    // To the next leaf once the end of this one is reached.
    void GoOn() {
      if (at_ == count_ && high_ != nullptr) {
        const Key high(high_);
        Load(Place::kAt, &high);
      }
    }

    const TreeMemtable* tree_;
    uint32_t at_ = 0;
    uint32_t count_ = 0;
    const char* low_ = nullptr;
    const char* high_ = nullptr;
    const char* keys_[kFanout];
  };

  std::atomic<Node*> root_;
};

class TreeMemtableFactory : public MemTableRepFactory {
 public:
  static const char* kClassName() { return "ConeyTreeMemtable"; }
  const char* Name() const override { return kClassName(); }

  bool IsInsertConcurrentlySupported() const override { return true; }

  MemTableRep* CreateMemTableRep(const MemTableRep::KeyComparator&, Allocator* allocator,
                                 const SliceTransform*, Logger*) override {
    return new TreeMemtable(allocator);
  }
};

}  // namespace

// Makes the option `memtable_factory=ConeyTreeMemtable` known to RocksDB.
extern "C" void coney_tree_memtable_register() {
  ObjectLibrary::Default()->AddFactory<MemTableRepFactory>(
      TreeMemtableFactory::kClassName(),
      [](const std::string&, std::unique_ptr<MemTableRepFactory>* guard, std::string*) {
        guard->reset(new TreeMemtableFactory());
        return guard->get();
      });
}
