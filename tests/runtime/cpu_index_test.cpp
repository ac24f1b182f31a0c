// gather, scatter, copy and fill: every type, missing rows, order of additions, range errors.
#include <doctest/doctest.h>

#include "cpu_call.h"
#include "fusec/base/error.h"

using namespace fusec;
using namespace fusec::test;

namespace {

CpuCall rows_call(const char* name, int64_t rows, int64_t count, int64_t width, DType type,
                  DType index_type) {
  CpuCall call(name);
  call.attr("rows", rows).attr("count", count).attr("width", width);
  call.attr("type", name_of(type).data()).attr("index_type", name_of(index_type).data());
  return call;
}

}  // namespace

TEST_CASE("gather: picks rows, zeros for negative indices") {
  const int64_t rows = 50, count = 400, width = 37;
  Values table, index;
  for (int64_t i = 0; i < rows * width; ++i) table.push_back(static_cast<double>(i % 101));
  for (int64_t i = 0; i < count; ++i)
    index.push_back(static_cast<double>((i * 7) % (rows + 3) - 3));
  for (DType type : {f32, bf16, i64, u8})
    for (DType index_type : {i32, i64}) {
      CpuCall call = rows_call("gather", rows, count, width, type, index_type);
      call.operand(table, type).operand(index, index_type).operand(Values(count * width, 5), type);
      Values out = call.run().values(2);
      int64_t wrong = 0;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < width; ++j) {
          int64_t row = static_cast<int64_t>(index[i]);
          wrong += out[i * width + j] != (row < 0 ? 0 : table[row * width + j]);
        }
      CHECK(wrong == 0);
    }
}

TEST_CASE("scatter: add and set in index order, the same bits for any number of threads") {
  for (DType type : {f32, bf16, i32})
    for (const char* mode : {"add", "set"})
      for (int64_t width : {1, 5, 64, 200}) {
        const int64_t rows = 9, count = 300;
        Values base = random_values(rows * width, 1), updates = random_values(count * width, 2);
        Values index;
        for (int64_t i = 0; i < count; ++i) index.push_back(static_cast<double>((i * i) % 11 - 2));
        if (type == i32)
          for (Values* v : {&base, &updates})
            for (double& x : *v) x = static_cast<int>(x * 100);
        // The reference rounds to the storage type after every update, in index order.
        std::vector<char> want(rows * width * size_of(type));
        for (int64_t i = 0; i < rows * width; ++i) store_from_double(want.data(), type, i, base[i]);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < width && index[i] >= 0; ++j) {
            int64_t at = static_cast<int64_t>(index[i]) * width + j;
            double old = mode[0] == 'a' ? load_as_double(want.data(), type, at) : 0;
            store_from_double(want.data(), type, at, old + updates[i * width + j]);
          }
        for (int threads : {1, 2, 3}) {
          CpuCall call = rows_call("scatter", rows, count, width, type, i32);
          call.attr("mode", mode).operand(base, type).operand(index, i32).operand(updates, type);
          CHECK(call.run(threads).bytes(0) == std::string(want.begin(), want.end()));
        }
      }
}

TEST_CASE("gather, scatter: an index out of range names value and position") {
  for (const char* name : {"gather", "scatter"}) {
    CpuCall call = rows_call(name, 4, 3, 2, f32, i64);
    call.attr("mode", "add");
    call.operand(Values(8), f32).operand({0, 1, 4}, i64).operand(Values(6), f32);
    try {
      call.run();
      FAIL("no error");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::user);
      std::string text = e.what();
      CHECK(text.find("index 4 at position 2") != std::string::npos);
      CHECK(text.find("4 rows") != std::string::npos);
      CHECK(text.find(name) != std::string::npos);
    }
  }
}

TEST_CASE("copy and fill move exactly the bytes asked for") {
  const int64_t n = 300001;
  Values source = random_values(n, 3);
  CpuCall copy("copy");
  copy.attr("bytes", (n - 1) * 4).operand(source, f32).operand(Values(n, 7), f32).run();
  Values out = copy.values(1);
  CHECK(out.back() == 7);
  out.back() = source.back();
  CHECK(out == source);

  CpuCall fill("fill");
  fill.attr("bytes", (n - 1) * 4).operand(Values(n, 7), f32).run();
  Values zeros(n, 0);
  zeros.back() = 7;
  CHECK(fill.values(0) == zeros);
}

TEST_CASE("an unknown library call is named") {
  CpuCall call("gemmm");
  CHECK_THROWS_WITH_AS(call.run(), doctest::Contains("gemmm"), Error);
}
