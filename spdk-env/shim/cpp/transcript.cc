// SPDX-License-Identifier: Apache-2.0
//
// For tests: the same file operations on any Env, and what they answered, as text. Linked only where
// it is called.

#include <memory>
#include <string>
#include <vector>

#include <algorithm>

#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

// As in RocksDB's db/c.cc.
struct rocksdb_env_t {
  rocksdb::Env* rep;
  bool is_default;
};

namespace {

using rocksdb::FileLock;
using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSRandomAccessFile;
using rocksdb::FSReadRequest;
using rocksdb::FSSequentialFile;
using rocksdb::FSWritableFile;
using rocksdb::FileSystem;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class Transcript {
 public:
  Transcript(FileSystem* fs, std::string directory) : fs_(fs), directory_(std::move(directory)) {}

  std::string Run() {
    Say("mkdir", fs_->CreateDir(Name("d"), io_, nullptr));
    Say("mkdir again", fs_->CreateDir(Name("d"), io_, nullptr));
    Say("mkdir if missing", fs_->CreateDirIfMissing(Name("d"), io_, nullptr));
    Say("mkdir without parent", fs_->CreateDir(Name("none/d"), io_, nullptr));
    Missing();
    Writing();
    Reading();
    Names();
    Locks();
    return text_;
  }

 private:
  std::string Name(const std::string& name) const { return directory_ + "/" + name; }

  void Line(const std::string& line) { text_ += line + "\n"; }

  // The kind of a status and its reason, without what it says about what was done to which file.
  void Say(const std::string& what, const IOStatus& status, const std::string& more = "") {
    std::string reason = status.ToString();
    reason = reason.substr(reason.rfind(": ") + (reason.find(": ") == std::string::npos ? 1 : 2));
    const size_t at = reason.find(directory_);
    if (at != std::string::npos) {
      reason.replace(at, directory_.size(), "DIR");
    }
    Line(what + ": " + std::to_string(status.code()) + "/" + std::to_string(status.subcode()) +
         (status.GetRetryable() ? " retryable " : " ") + reason + (more.empty() ? "" : ": ") +
         more);
  }

  void Missing() {
    std::unique_ptr<FSSequentialFile> sequential;
    std::unique_ptr<FSRandomAccessFile> random;
    std::unique_ptr<FSWritableFile> writable;
    std::unique_ptr<FSDirectory> directory;
    std::vector<std::string> names;
    uint64_t number = 7;
    bool flag = false;
    Say("read missing", fs_->NewSequentialFile(Name("none"), file_, &sequential, nullptr));
    Say("random missing", fs_->NewRandomAccessFile(Name("none"), file_, &random, nullptr));
    Say("write in missing", fs_->NewWritableFile(Name("none/a"), file_, &writable, nullptr));
    Say("directory missing", fs_->NewDirectory(Name("none"), io_, &directory, nullptr));
    Say("exists missing", fs_->FileExists(Name("none"), io_, nullptr));
    Say("list missing", fs_->GetChildren(Name("none"), io_, &names, nullptr));
    Say("delete missing", fs_->DeleteFile(Name("none"), io_, nullptr));
    Say("rmdir missing", fs_->DeleteDir(Name("none"), io_, nullptr));
    Say("size missing", fs_->GetFileSize(Name("none"), io_, &number, nullptr),
        std::to_string(number));
    Say("time missing", fs_->GetFileModificationTime(Name("none"), io_, &number, nullptr));
    Say("rename missing", fs_->RenameFile(Name("none"), Name("x"), io_, nullptr));
    Say("link missing", fs_->LinkFile(Name("none"), Name("x"), io_, nullptr));
    Say("links missing", fs_->NumFileLinks(Name("none"), io_, &number, nullptr));
    Say("same missing", fs_->AreFilesSame(Name("none"), Name("d"), io_, &flag, nullptr));
    Say("is directory missing", fs_->IsDirectory(Name("none"), io_, &flag, nullptr));
    Say("long name", fs_->FileExists(Name(std::string(300, 'n')), io_, nullptr));
  }

  void Put(const std::string& name, const std::string& bytes) {
    std::unique_ptr<FSWritableFile> file;
    Say("create " + name, fs_->NewWritableFile(Name(name), file_, &file, nullptr));
    if (file != nullptr) {
      Say("append", file->Append(bytes, io_, nullptr));
      Say("close", file->Close(io_, nullptr));
    }
  }

  std::string Get(const std::string& name) {
    std::unique_ptr<FSSequentialFile> file;
    if (!fs_->NewSequentialFile(Name(name), file_, &file, nullptr).ok()) {
      return "not there";
    }
    std::string found;
    std::string scratch(1 << 16, 0);
    Slice piece;
    do {
      Say("read", file->Read(scratch.size(), io_, &piece, scratch.data(), nullptr));
      found.append(piece.data(), piece.size());
    } while (piece.size() > 0);
    return Short(found);
  }

  // Length, hash and ends of bytes.
  static std::string Short(const std::string& bytes) {
    uint64_t hash = 14695981039346656037ULL;
    for (unsigned char byte : bytes) {
      hash = (hash ^ byte) * 1099511628211ULL;
    }
    return std::to_string(bytes.size()) + " bytes, " + std::to_string(hash) + " " +
           bytes.substr(0, 8);
  }

  static std::string Bytes(size_t len, unsigned seed) {
    std::string bytes(len, 0);
    for (char& byte : bytes) {
      seed = seed * 1664525 + 1013904223;
      byte = static_cast<char>('a' + (seed >> 24) % 26);
    }
    return bytes;
  }

  void Writing() {
    std::unique_ptr<FSWritableFile> file;
    uint64_t size = 0;
    Say("write a directory", fs_->NewWritableFile(Name("d"), file_, &file, nullptr));
    Say("create", fs_->NewWritableFile(Name("a"), file_, &file, nullptr));
    Say("allocate", file->Allocate(0, 1 << 20, io_, nullptr));
    Say("append", file->Append(Bytes(5000, 1), io_, nullptr));
    Say("sync", file->Sync(io_, nullptr));
    Say("append much", file->Append(Bytes(700000, 2), io_, nullptr));
    Say("flush", file->Flush(io_, nullptr), std::to_string(file->GetFileSize(io_, nullptr)));
    Line("before it is synced: " + Get("a"));
    Say("fsync", file->Fsync(io_, nullptr));
    Say("range sync", file->RangeSync(0, 4096, io_, nullptr));
    Say("append", file->Append("end", io_, nullptr));
    Line("sync is thread safe: " + std::to_string(file->IsSyncThreadSafe()));
    Say("truncate", file->Truncate(300001, io_, nullptr));
    Say("close", file->Close(io_, nullptr));
    Line("truncated: " + Get("a"));
    Say("size", fs_->GetFileSize(Name("a"), io_, &size, nullptr), std::to_string(size));
    Say("reopen", fs_->ReopenWritableFile(Name("a"), file_, &file, nullptr));
    Say("append", file->Append("more", io_, nullptr));
    Say("close", file->Close(io_, nullptr));
    Line("reopened: " + Get("a"));
    Say("reopen missing", fs_->ReopenWritableFile(Name("b"), file_, &file, nullptr));
    Say("append", file->Append("new", io_, nullptr));
    file.reset();
    Line("without close: " + Get("b"));
    Say("sync by name", fs_->SyncFile(Name("b"), file_, io_, true, nullptr));
    Say("truncate by name", fs_->Truncate(Name("a"), 11, io_, nullptr));
    Put("b", "over");
    Line("overwritten: " + Get("b"));
    Put("empty", "");
    Line("empty: " + Get("empty"));
    Say("reuse", fs_->ReuseWritableFile(Name("reused"), Name("b"), file_, &file, nullptr));
    Say("append", file->Append("again", io_, nullptr));
    Say("close", file->Close(io_, nullptr));
    Line("old name: " + Get("b"));
    // RocksDB's own keeps what the file had behind the new bytes; RocksDB counts on neither.
    Say("delete", fs_->DeleteFile(Name("reused"), io_, nullptr));
  }

  void Reading() {
    Put("c", Bytes(2500000, 3));
    std::unique_ptr<FSRandomAccessFile> file;
    std::string scratch(2000000, 0);
    Slice result;
    Say("open", fs_->NewRandomAccessFile(Name("c"), file_, &file, nullptr));
    for (auto [offset, len] : {std::pair<uint64_t, size_t>{0, 10},
                               {4090, 12},
                               {4096, 4096},
                               {1, 1900000},
                               {2499990, 100},
                               {2500000, 10},
                               {9999999, 10}}) {
      IOStatus status = file->Read(offset, len, io_, &result, scratch.data(), nullptr);
      Say("read at " + std::to_string(offset), status, Short(result.ToString()));
    }
    FSReadRequest requests[3];
    for (size_t i = 0; i < 3; ++i) {
      requests[i].offset = 1000000 * i + 3;
      requests[i].len = 600000;
      requests[i].scratch = scratch.data() + 600000 * i;
    }
    Say("read many", file->MultiRead(requests, 3, io_, nullptr));
    for (FSReadRequest& request : requests) {
      Say("one of them", request.status, Short(request.result.ToString()));
    }
    // Without io_uring RocksDB's own has no reads that wait elsewhere: these must give the same.
    std::vector<void*> handles;
    rocksdb::IOHandleDeleter deleter;
    std::vector<std::string> results(3);
    for (size_t i = 0; i < 3; ++i) {
      void* handle = nullptr;
      auto callback = [](FSReadRequest& request, void* to) {
        *static_cast<std::string*>(to) =
            request.status.ToString() + ": " + Short(request.result.ToString());
      };
      IOStatus begun = file->ReadAsync(requests[i], io_, callback, &results[i], &handle, &deleter,
                                       nullptr);
      if (begun.IsNotSupported()) {
        begun = file->Read(requests[i].offset, requests[i].len, io_, &result,
                           requests[i].scratch, nullptr);
        results[i] = begun.ToString() + ": " + Short(result.ToString());
      }
      Say("begin to read", begun);
      if (handle != nullptr) {
        handles.push_back(handle);
      }
    }
    if (!handles.empty()) {
      fs_->Poll(handles, handles.size()).PermitUncheckedError();
    }
    for (void* handle : handles) {
      deleter(handle);
    }
    for (const std::string& said : results) {
      Line("ended: " + said);
    }
    uint64_t size = 0;
    if (file->GetFileSize(&size).ok()) {
      Line("size of open file: " + std::to_string(size));
    }
    Say("delete open file", fs_->DeleteFile(Name("c"), io_, nullptr));
    IOStatus status = file->Read(2400000, 10, io_, &result, scratch.data(), nullptr);
    Say("read deleted file", status, result.ToString());
    std::unique_ptr<FSSequentialFile> sequential;
    Say("open", fs_->NewSequentialFile(Name("a"), file_, &sequential, nullptr));
    Say("skip", sequential->Skip(4));
    Say("read", sequential->Read(3, io_, &result, scratch.data(), nullptr), result.ToString());
    Say("read", sequential->Read(100, io_, &result, scratch.data(), nullptr), result.ToString());
    Say("read at the end", sequential->Read(100, io_, &result, scratch.data(), nullptr),
        result.ToString());
  }

  void Names() {
    uint64_t count = 0;
    bool flag = false;
    Put("one", "1");
    Put("two", "2");
    Say("rename over", fs_->RenameFile(Name("one"), Name("two"), io_, nullptr));
    Line("renamed: " + Get("two") + ", " + Get("one"));
    Say("link", fs_->LinkFile(Name("two"), Name("d/three"), io_, nullptr));
    Say("link over", fs_->LinkFile(Name("two"), Name("a"), io_, nullptr));
    Say("links", fs_->NumFileLinks(Name("two"), io_, &count, nullptr), std::to_string(count));
    Say("same", fs_->AreFilesSame(Name("two"), Name("d/three"), io_, &flag, nullptr),
        std::to_string(flag));
    Say("not same", fs_->AreFilesSame(Name("two"), Name("a"), io_, &flag, nullptr),
        std::to_string(flag));
    Say("delete", fs_->DeleteFile(Name("two"), io_, nullptr));
    Line("the other name: " + Get("d/three"));
    Say("rename directory", fs_->RenameFile(Name("d"), Name("e"), io_, nullptr));
    Line("in it: " + Get("e/three"));
    Say("is directory", fs_->IsDirectory(Name("e"), io_, &flag, nullptr), std::to_string(flag));
    Say("is directory", fs_->IsDirectory(Name("a"), io_, &flag, nullptr), std::to_string(flag));
    Say("rmdir of a full one", fs_->DeleteDir(Name("e"), io_, nullptr));
    Say("rmdir of a file", fs_->DeleteDir(Name("a"), io_, nullptr));
    Say("mkdir over a file", fs_->CreateDirIfMissing(Name("a"), io_, nullptr));
    Say("below a file", fs_->FileExists(Name("a/b"), io_, nullptr));
    std::vector<std::string> names;
    Say("list a file", fs_->GetChildren(Name("a"), io_, &names, nullptr));
    Say("list", fs_->GetChildren(directory_, io_, &names, nullptr));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      Line("  " + name);
    }
    std::unique_ptr<FSDirectory> directory;
    Say("open directory", fs_->NewDirectory(Name("e"), io_, &directory, nullptr));
    Say("sync directory", directory->FsyncWithDirOptions(io_, nullptr, {}));
    Say("close directory", directory->Close(io_, nullptr));
  }

  void Locks() {
    FileLock* first = nullptr;
    FileLock* second = nullptr;
    Say("lock", fs_->LockFile(Name("LOCK"), io_, &first, nullptr));
    Say("lock again", fs_->LockFile(Name("LOCK"), io_, &second, nullptr));
    Say("unlock", fs_->UnlockFile(first, io_, nullptr));
    Say("lock", fs_->LockFile(Name("LOCK"), io_, &first, nullptr));
    Say("unlock", fs_->UnlockFile(first, io_, nullptr));
    Say("lock in missing", fs_->LockFile(Name("none/LOCK"), io_, &second, nullptr));
    std::string absolute;
    Say("absolute", fs_->GetAbsolutePath("/x/y", io_, &absolute, nullptr), absolute);
  }

  FileSystem* fs_;
  std::string directory_;
  FileOptions file_;
  IOOptions io_;
  std::string text_;
};

}  // namespace

extern "C" {

void coney_env_transcript(rocksdb_env_t* env, const char* directory, void* to,
                          void (*give)(void* to, const char* text, size_t len)) noexcept {
  const std::string text = Transcript(env->rep->GetFileSystem().get(), directory).Run();
  give(to, text.data(), text.size());
}

}  // extern "C"
