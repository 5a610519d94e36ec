// SPDX-License-Identifier: Apache-2.0
//
// rocksdb::FileSystem over Coney's file system. Nothing is decided here: each method hands its
// arguments to Rust, through a table of functions, and turns an error number of Linux into the
// status that RocksDB's own POSIX file system would give. Rust ends the process if it panics, and
// calls nothing here that throws.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rocksdb/convenience.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/version.h"

// Methods without a default change between major versions: look at each before this is raised.
static_assert(ROCKSDB_MAJOR == 11, "written for RocksDB 11");

// As in RocksDB's db/c.cc.
struct rocksdb_env_t {
  rocksdb::Env* rep;
  bool is_default;
};

extern "C" {

// One read of several; `result` is an error number, `got` how many bytes there were.
struct coney_read {
  uint64_t offset;
  char* out;
  size_t len;
  size_t got;
  int32_t result;
};

struct coney_stat {
  uint64_t inode;
  uint64_t size;
  uint64_t links;
  uint64_t modified_ms;
  uint32_t is_directory;
};

struct coney_path {
  const char* bytes;
  size_t len;
};

// The same table stands in src/ffi.rs. Results are error numbers, 0 for none.
struct coney_calls {
  void (*release)(const void* fs);
  int32_t (*open)(const void* fs, coney_path path, int32_t how, uint64_t* file);
  int32_t (*close)(const void* fs, uint64_t file, int32_t writer);
  int32_t (*append)(const void* fs, uint64_t file, const char* bytes, size_t len);
  int32_t (*preallocate)(const void* fs, uint64_t file, uint64_t size);
  int32_t (*sync)(const void* fs, uint64_t file);
  int32_t (*commit)(const void* fs);
  int32_t (*truncate)(const void* fs, uint64_t file, uint64_t size);
  int32_t (*size)(const void* fs, uint64_t file, uint64_t* size);
  int32_t (*read)(const void* fs, uint64_t file, coney_read* reads, size_t count);
  int32_t (*begin_read)(const void* fs, uint64_t file, uint64_t offset, size_t len, void** pending);
  int32_t (*end_read)(const void* fs, void* pending, char* out, size_t len, size_t* got);
  int32_t (*stat)(const void* fs, coney_path path, coney_stat* stat);
  int32_t (*list)(const void* fs, coney_path path, void* names,
                  void (*each)(void* names, const char* name, size_t len));
  int32_t (*change)(const void* fs, int32_t what, coney_path path, coney_path other);
  int32_t (*lock)(const void* fs, coney_path path, uint64_t* file);
  void (*unlock)(const void* fs, uint64_t file);
  void (*space)(const void* fs, uint64_t* free);
};

}  // extern "C"

namespace {

using rocksdb::DirFsyncOptions;
using rocksdb::FileLock;
using rocksdb::FileOptions;
using rocksdb::FileSystem;
using rocksdb::FSDirectory;
using rocksdb::FSRandomAccessFile;
using rocksdb::FSReadRequest;
using rocksdb::FSSequentialFile;
using rocksdb::FSSupportedOps;
using rocksdb::FSWritableFile;
using rocksdb::InfoLogLevel;
using rocksdb::IODebugContext;
using rocksdb::IOHandleDeleter;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Logger;
using rocksdb::Slice;
using rocksdb::Status;

// Values of `how` in coney_calls.open.
constexpr int32_t kRead = 0;
constexpr int32_t kCreate = 1;
constexpr int32_t kAppend = 2;

// Values of `what` in coney_calls.change.
constexpr int32_t kUnlink = 0;
constexpr int32_t kRename = 1;
constexpr int32_t kLink = 2;
constexpr int32_t kCreateDirectory = 3;
constexpr int32_t kRemoveDirectory = 4;

coney_path Path(const std::string& path) { return {path.data(), path.size()}; }

// As IOError in RocksDB's env/io_posix.cc.
IOStatus ToStatus(int32_t error, const char* context, const std::string& path) {
  if (error == 0) {
    return IOStatus::OK();
  }
  const std::string message = std::string(context) + ": " + path;
  char buffer[128];
  const char* reason = strerror_r(error, buffer, sizeof(buffer));
  switch (error) {
    case ENOSPC: {
      IOStatus status = IOStatus::NoSpace(message, reason);
      status.SetRetryable(true);
      return status;
    }
    case ENOENT:
      return IOStatus::PathNotFound(message, reason);
    default:
      return IOStatus::IOError(message, reason);
  }
}

// The table with the file system that it is for. Files hold it too, and may outlive the Env.
class Mount {
 public:
  Mount(const void* fs, const coney_calls* calls) : fs(fs), calls(calls) {}
  ~Mount() { calls->release(fs); }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  const void* const fs;
  const coney_calls* const calls;
};

// An open file: its number, and its name for messages.
class OpenFile {
 public:
  OpenFile(std::shared_ptr<Mount> mount, std::string path, uint64_t number, bool writer)
      : mount_(std::move(mount)), path_(std::move(path)), number_(number), writer_(writer) {}
  ~OpenFile() { Close().PermitUncheckedError(); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  IOStatus Close() {
    if (closed_) {
      return IOStatus::OK();
    }
    closed_ = true;
    return ToStatus(mount_->calls->close(mount_->fs, number_, writer_), "While closing", path_);
  }

  IOStatus Read(uint64_t offset, size_t len, char* out, Slice* result) const {
    coney_read read{offset, out, len, 0, 0};
    int32_t error = mount_->calls->read(mount_->fs, number_, &read, 1);
    error = error != 0 ? error : read.result;
    *result = Slice(out, error == 0 ? read.got : 0);
    return ToStatus(error, "While reading", path_);
  }

  IOStatus Size(uint64_t* size) const {
    return ToStatus(mount_->calls->size(mount_->fs, number_, size), "While asking for the size of",
                    path_);
  }

  const std::shared_ptr<Mount>& mount() const { return mount_; }
  const coney_calls* calls() const { return mount_->calls; }
  const void* fs() const { return mount_->fs; }
  const std::string& path() const { return path_; }
  uint64_t number() const { return number_; }

 private:
  std::shared_ptr<Mount> mount_;
  std::string path_;
  uint64_t number_;
  bool writer_;
  bool closed_ = false;
};

class SequentialFile : public FSSequentialFile {
 public:
  explicit SequentialFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}

  IOStatus Read(size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    IOStatus status = file_->Read(offset_, n, scratch, result);
    offset_ += result->size();
    return status;
  }

  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return IOStatus::OK();
  }

  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

 private:
  std::unique_ptr<OpenFile> file_;
  uint64_t offset_ = 0;
};

// A read that was begun. It holds its file, which may be closed before RocksDB polls.
class ReadHandle {
 public:
  using Callback = std::function<void(FSReadRequest&, void*)>;

  ReadHandle(std::shared_ptr<OpenFile> file, void* pending, const FSReadRequest& request,
             Callback callback, void* argument)
      : file_(std::move(file)),
        pending_(pending),
        offset_(request.offset),
        len_(request.len),
        scratch_(request.scratch),
        callback_(std::move(callback)),
        argument_(argument) {}

  ~ReadHandle() {
    if (pending_ != nullptr) {
      // The result is of no use any more, but the memory is.
      size_t got = 0;
      file_->calls()->end_read(file_->fs(), pending_, scratch_, 0, &got);
    }
  }

  // Waits for the read and calls the callback, once.
  void Finish() {
    if (pending_ == nullptr) {
      return;
    }
    size_t got = 0;
    const int32_t error =
        file_->calls()->end_read(file_->fs(), pending_, scratch_, len_, &got);
    pending_ = nullptr;
    FSReadRequest request;
    request.offset = offset_;
    request.len = len_;
    request.scratch = scratch_;
    request.result = Slice(scratch_, got);
    request.status = ToStatus(error, "While reading", file_->path());
    callback_(request, argument_);
  }

 private:
  std::shared_ptr<OpenFile> file_;
  void* pending_;
  uint64_t offset_;
  size_t len_;
  char* scratch_;
  Callback callback_;
  void* argument_;
};

class RandomAccessFile : public FSRandomAccessFile {
 public:
  explicit RandomAccessFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return file_->Read(offset, n, scratch, result);
  }

  IOStatus MultiRead(FSReadRequest* requests, size_t count, const IOOptions&,
                     IODebugContext*) override {
    std::vector<coney_read> reads(count);
    for (size_t i = 0; i < count; ++i) {
      reads[i] = {requests[i].offset, requests[i].scratch, requests[i].len, 0, 0};
    }
    const int32_t error =
        file_->calls()->read(file_->fs(), file_->number(), reads.data(), count);
    for (size_t i = 0; i < count; ++i) {
      const int32_t own = error != 0 ? error : reads[i].result;
      requests[i].status = ToStatus(own, "While reading", file_->path());
      requests[i].result = Slice(reads[i].out, own == 0 ? reads[i].got : 0);
    }
    return IOStatus::OK();
  }

  IOStatus ReadAsync(FSReadRequest& request, const IOOptions&, ReadHandle::Callback callback,
                     void* argument, void** handle, IOHandleDeleter* deleter,
                     IODebugContext*) override {
    void* pending = nullptr;
    const int32_t error = file_->calls()->begin_read(file_->fs(), file_->number(), request.offset,
                                                     request.len, &pending);
    if (error != 0) {
      return ToStatus(error, "While reading", file_->path());
    }
    *handle = new ReadHandle(file_, pending, request, std::move(callback), argument);
    *deleter = [](void* given) { delete static_cast<ReadHandle*>(given); };
    return IOStatus::OK();
  }

  IOStatus GetFileSize(uint64_t* size) override { return file_->Size(size); }
  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

 private:
  std::shared_ptr<OpenFile> file_;
};

class WritableFile : public FSWritableFile {
 public:
  explicit WritableFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return Result(file_->calls()->append(file_->fs(), file_->number(), data.data(), data.size()),
                  "While appending to file");
  }

  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    return Result(file_->calls()->truncate(file_->fs(), file_->number(), size),
                  "While truncating file");
  }

  IOStatus Allocate(uint64_t offset, uint64_t len, const IOOptions&, IODebugContext*) override {
    return Result(file_->calls()->preallocate(file_->fs(), file_->number(), offset + len),
                  "While preallocating");
  }

  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return Result(file_->calls()->sync(file_->fs(), file_->number()), "While syncing");
  }

  // Appended bytes are visible to readers at once; only a sync makes them survive the process.
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return file_->Close(); }
  bool IsSyncThreadSafe() const override { return true; }
  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override {
    uint64_t size = 0;
    file_->Size(&size).PermitUncheckedError();
    return size;
  }

 private:
  IOStatus Result(int32_t error, const char* context) const {
    return ToStatus(error, context, file_->path());
  }

  std::unique_ptr<OpenFile> file_;
};

class Directory : public FSDirectory {
 public:
  Directory(std::shared_ptr<Mount> mount, std::string path)
      : mount_(std::move(mount)), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return ToStatus(mount_->calls->commit(mount_->fs), "While syncing directory", path_);
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const DirFsyncOptions&) override {
    return Fsync(options, dbg);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  std::shared_ptr<Mount> mount_;
  std::string path_;
};

class Lock : public FileLock {
 public:
  explicit Lock(uint64_t file) : file(file) {}
  const uint64_t file;
};

// RocksDB's info log. What it says is durable when RocksDB flushes it, after each flush and compaction
// above all, and when RocksDB closes it.
class InfoLog : public Logger {
 public:
  explicit InfoLog(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  ~InfoLog() override { Close().PermitUncheckedError(); }

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    localtime_r(&now.tv_sec, &parts);
    char line[kLineBytesMax];
    int len = snprintf(line, sizeof(line), "%04d/%02d/%02d-%02d:%02d:%02d.%06ld ",
                       parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                       parts.tm_min, parts.tm_sec, now.tv_nsec / 1000);
    va_list copy;
    va_copy(copy, arguments);
    const int text = vsnprintf(line + len, sizeof(line) - len - 1, format, copy);
    va_end(copy);
    if (text < 0) {
      return;
    }
    len = std::min<int>(len + text, sizeof(line) - 2);
    if (line[len - 1] != '\n') {
      line[len++] = '\n';
    }
    std::lock_guard<std::mutex> guard(mutex_);
    if (file_ != nullptr && file_->calls()->append(file_->fs(), file_->number(), line, len) == 0) {
      size_ += len;
    }
  }

  void Flush() override {
    std::lock_guard<std::mutex> guard(mutex_);
    if (file_ != nullptr) {
      // Nobody could do anything about a failure here.
      file_->calls()->sync(file_->fs(), file_->number());
    }
  }

  size_t GetLogFileSize() const override { return size_; }

 protected:
  Status CloseImpl() override {
    std::lock_guard<std::mutex> guard(mutex_);
    if (file_ == nullptr) {
      return Status::OK();
    }
    std::unique_ptr<OpenFile> file = std::move(file_);
    return file->Close();
  }

 private:
  // A longer line is cut.
  static constexpr size_t kLineBytesMax = 8192;

  std::mutex mutex_;
  std::unique_ptr<OpenFile> file_;
  std::atomic<size_t> size_{0};
};

class ConeyFileSystem : public FileSystem {
 public:
  explicit ConeyFileSystem(std::shared_ptr<Mount> mount) : mount_(std::move(mount)) {}

  const char* Name() const override { return "ConeyFileSystem"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<FSSequentialFile>* result, IODebugContext*) override {
    std::unique_ptr<OpenFile> file;
    IOStatus status = Open(path, kRead, &file);
    if (status.ok()) {
      result->reset(new SequentialFile(std::move(file)));
    }
    return status;
  }

  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<FSRandomAccessFile>* result,
                               IODebugContext*) override {
    std::unique_ptr<OpenFile> file;
    IOStatus status = Open(path, kRead, &file);
    if (status.ok()) {
      result->reset(new RandomAccessFile(std::move(file)));
    }
    return status;
  }

  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<FSWritableFile>* result, IODebugContext*) override {
    return Writable(path, kCreate, result);
  }

  IOStatus ReopenWritableFile(const std::string& path, const FileOptions&,
                              std::unique_ptr<FSWritableFile>* result, IODebugContext*) override {
    return Writable(path, kAppend, result);
  }

  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<FSDirectory>* result, IODebugContext*) override {
    coney_stat stat{};
    int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    if (error == 0 && stat.is_directory == 0) {
      error = ENOTDIR;
    }
    if (error == 0) {
      result->reset(new Directory(mount_, path));
    }
    return ToStatus(error, "While open directory", path);
  }

  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    coney_stat stat{};
    const int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    switch (error) {
      case ENOENT:
      case ENOTDIR:
      case ENAMETOOLONG:
        return IOStatus::NotFound();
      default:
        return ToStatus(error, "While looking for file", path);
    }
  }

  IOStatus GetChildren(const std::string& path, const IOOptions&,
                       std::vector<std::string>* result, IODebugContext*) override {
    result->clear();
    const int32_t error = mount_->calls->list(
        mount_->fs, Path(path), result, [](void* names, const char* name, size_t len) noexcept {
          static_cast<std::vector<std::string>*>(names)->emplace_back(name, len);
        });
    if (error == ENOENT || error == ENOTDIR) {
      return IOStatus::NotFound();
    }
    return ToStatus(error, "While opendir", path);
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change(kUnlink, path, path, "while unlink() file");
  }

  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change(kCreateDirectory, path, path, "While mkdir");
  }

  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&,
                              IODebugContext*) override {
    coney_stat stat{};
    if (mount_->calls->stat(mount_->fs, Path(path), &stat) == 0) {
      if (stat.is_directory != 0) {
        return IOStatus::OK();
      }
      return IOStatus::IOError("`" + path + "' exists but is not a directory");
    }
    return Change(kCreateDirectory, path, path, "While mkdir if missing");
  }

  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change(kRemoveDirectory, path, path, "file rmdir");
  }

  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    coney_stat stat{};
    const int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    *size = stat.size;
    return ToStatus(error, "while stat a file for size", path);
  }

  IOStatus GetFileModificationTime(const std::string& path, const IOOptions&, uint64_t* seconds,
                                   IODebugContext*) override {
    coney_stat stat{};
    const int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    *seconds = stat.modified_ms / 1000;
    return ToStatus(error, "while stat a file for modification time", path);
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return Change(kRename, from, to, "While renaming a file");
  }

  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override {
    return Change(kLink, from, to, "while link file");
  }

  IOStatus NumFileLinks(const std::string& path, const IOOptions&, uint64_t* count,
                        IODebugContext*) override {
    coney_stat stat{};
    const int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    *count = stat.links;
    return ToStatus(error, "while stat a file for num file links", path);
  }

  IOStatus AreFilesSame(const std::string& first, const std::string& second, const IOOptions&,
                        bool* same, IODebugContext*) override {
    coney_stat stats[2] = {};
    int32_t error = mount_->calls->stat(mount_->fs, Path(first), &stats[0]);
    if (error != 0) {
      return ToStatus(error, "stat file", first);
    }
    error = mount_->calls->stat(mount_->fs, Path(second), &stats[1]);
    *same = error == 0 && stats[0].inode == stats[1].inode;
    return ToStatus(error, "stat file", second);
  }

  IOStatus LockFile(const std::string& path, const IOOptions&, FileLock** lock,
                    IODebugContext*) override {
    uint64_t file = 0;
    const int32_t error = mount_->calls->lock(mount_->fs, Path(path), &file);
    *lock = error == 0 ? new Lock(file) : nullptr;
    return ToStatus(error, error == ENOLCK ? "lock hold by current process" : "While lock file",
                    path);
  }

  IOStatus UnlockFile(FileLock* lock, const IOOptions&, IODebugContext*) override {
    Lock* ours = static_cast<Lock*>(lock);
    mount_->calls->unlock(mount_->fs, ours->file);
    delete ours;
    return IOStatus::OK();
  }

  IOStatus GetTestDirectory(const IOOptions& options, std::string* path,
                            IODebugContext* dbg) override {
    *path = "/test";
    return CreateDirIfMissing(*path, options, dbg);
  }

  IOStatus NewLogger(const std::string& path, const IOOptions&, std::shared_ptr<Logger>* result,
                     IODebugContext*) override {
    std::unique_ptr<OpenFile> file;
    IOStatus status = Open(path, kCreate, &file);
    if (status.ok()) {
      *result = std::make_shared<InfoLog>(std::move(file));
      (*result)->SetInfoLogLevel(InfoLogLevel::INFO_LEVEL);
    }
    return status;
  }

  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* result,
                           IODebugContext*) override {
    *result = !path.empty() && path[0] == '/' ? path : "/" + path;
    return IOStatus::OK();
  }

  IOStatus GetFreeSpace(const std::string&, const IOOptions&, uint64_t* free,
                        IODebugContext*) override {
    mount_->calls->space(mount_->fs, free);
    return IOStatus::OK();
  }

  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory,
                       IODebugContext*) override {
    coney_stat stat{};
    const int32_t error = mount_->calls->stat(mount_->fs, Path(path), &stat);
    if (is_directory != nullptr) {
      *is_directory = stat.is_directory != 0;
    }
    return ToStatus(error, "While open for IsDirectory()", path);
  }

  IOStatus Poll(std::vector<void*>& handles, size_t) override {
    for (void* handle : handles) {
      static_cast<ReadHandle*>(handle)->Finish();
    }
    return IOStatus::OK();
  }

  // A device's read cannot be called back, and ends soon.
  IOStatus AbortIO(std::vector<void*>& handles) override { return Poll(handles, handles.size()); }

  void SupportedOps(int64_t& supported) override {
    supported = int64_t{1} << FSSupportedOps::kAsyncIO;
  }

 private:
  IOStatus Open(const std::string& path, int32_t how, std::unique_ptr<OpenFile>* result) {
    uint64_t number = 0;
    const int32_t error = mount_->calls->open(mount_->fs, Path(path), how, &number);
    if (error == 0) {
      result->reset(new OpenFile(mount_, path, number, how != kRead));
    }
    return ToStatus(error, "While open a file", path);
  }

  IOStatus Writable(const std::string& path, int32_t how,
                    std::unique_ptr<FSWritableFile>* result) {
    std::unique_ptr<OpenFile> file;
    IOStatus status = Open(path, how, &file);
    if (status.ok()) {
      result->reset(new WritableFile(std::move(file)));
    }
    return status;
  }

  IOStatus Change(int32_t what, const std::string& path, const std::string& other,
                  const char* context) {
    return ToStatus(mount_->calls->change(mount_->fs, what, Path(path), Path(other)), context,
                    path);
  }

  std::shared_ptr<Mount> mount_;
};

}  // namespace

extern "C" {

// Takes `fs`, also when it returns null: because the RocksDB that is linked is not that of the
// headers.
rocksdb_env_t* coney_env_create(const void* fs, const coney_calls* calls) noexcept {
  auto mount = std::make_shared<Mount>(fs, calls);
  const std::string headers = std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) +
                              "." + std::to_string(ROCKSDB_PATCH);
  if (rocksdb::GetRocksVersionAsString(true) != headers) {
    return nullptr;
  }
  auto files = std::make_shared<ConeyFileSystem>(std::move(mount));
  auto* env = new rocksdb_env_t;
  env->rep = rocksdb::NewCompositeEnv(files).release();
  env->is_default = false;
  return env;
}

}  // extern "C"
