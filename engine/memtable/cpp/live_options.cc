// SPDX-License-Identifier: Apache-2.0
//
// Options of an open database that RocksDB changes and its C API does not reach: those of the database
// as a whole, and the rate of its rate limiter.

#include <cstdint>

#include "db/column_family.h"
#include "db/db_impl/db_impl.h"
#include "rocksdb/db.h"
#include "rocksdb/rate_limiter.h"

// As RocksDB's db/c.cc has it: the handle comes first.
struct rocksdb_column_family_handle_t {
  rocksdb::ColumnFamilyHandle* rep;
};

namespace {

rocksdb::DB* database(const rocksdb_column_family_handle_t* family) {
  // Every handle that the C API gives out is of this class.
  return static_cast<rocksdb::ColumnFamilyHandleImpl*>(family->rep)->db();
}

}  // namespace

// Changes an option of the database that `family` belongs to: 0, or 1 if RocksDB refuses it.
extern "C" int coney_set_database_option(const rocksdb_column_family_handle_t* family, const char* name,
                                         const char* value) {
  return database(family)->SetDBOptions({{name, value}}).ok() ? 0 : 1;
}

// Changes the rate of the database's rate limiter, in bytes a second: 0, or 1 if it has none.
extern "C" int coney_set_rate_limit(const rocksdb_column_family_handle_t* family, int64_t bytes_per_second) {
  const auto limiter = database(family)->GetDBOptions().rate_limiter;
  if (limiter == nullptr) return 1;
  limiter->SetBytesPerSecond(bytes_per_second);
  return 0;
}
