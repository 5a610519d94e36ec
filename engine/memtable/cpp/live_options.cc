// SPDX-License-Identifier: Apache-2.0
//
// Options of an open database that RocksDB changes and its C API does not reach: those of the database
// as a whole, and the rate of its rate limiter.

#include <algorithm>
#include <cstdint>
#include <memory>

#include "db/column_family.h"
#include "db/db_impl/db_impl.h"
#include "rocksdb/db.h"
#include "rocksdb/rate_limiter.h"
#include "rocksdb/statistics.h"

// As RocksDB's db/c.cc has it: the handle comes first.
struct rocksdb_column_family_handle_t {
  rocksdb::ColumnFamilyHandle* rep;
};

namespace {

rocksdb::DB* database(const rocksdb_column_family_handle_t* family) {
  // Every handle that the C API gives out is of this class.
  return static_cast<rocksdb::ColumnFamilyHandleImpl*>(family->rep)->db();
}

// The rate while a limiter is emptied: as low as that, what is refilled meanwhile does not matter.
constexpr int64_t kDrainBytesPerSecond = 1 << 20;

// Takes what the limiter has left of a higher rate. It keeps up to two refills, which would all be granted
// before the new rate holds: gigabytes, where there was no limit.
void drain(rocksdb::RateLimiter& limiter) {
  limiter.SetBytesPerSecond(kDrainBytesPerSecond);
  const auto statistics = rocksdb::CreateDBStatistics();
  // A request that had to wait has found it empty.
  while (statistics->getTickerCount(rocksdb::RATE_LIMITER_DELAYED_REQUESTS_WRITE) == 0) {
    limiter.Request(std::max<int64_t>(limiter.GetSingleBurstBytes(), 1), rocksdb::Env::IO_USER, statistics.get());
  }
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
  if (bytes_per_second < limiter->GetBytesPerSecond()) drain(*limiter);
  limiter->SetBytesPerSecond(bytes_per_second);
  return 0;
}
