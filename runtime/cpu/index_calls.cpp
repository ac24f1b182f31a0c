// gather and scatter: rows of a table picked or updated by an index tensor. An index below zero
// means "no row"; one at or above the number of rows is a user Error naming value and position.
#include <cstring>

#include "library.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kBytesPerTask = 64 << 10;
constexpr int64_t kCacheLine = 64;

// The attributes that both calls share.
struct RowCall {
  int64_t rows, count, width;
  DType type, index_type;
  int64_t row_bytes() const { return width * size_of(type); }
};

RowCall read_attributes(const BoundCall& c) {
  c.require(c.args.size() == 3, "takes three arguments");
  RowCall r{c.call.integer("rows"), c.call.integer("count"), c.call.integer("width"),
            c.type("type"), c.type("index_type")};
  c.require(r.rows >= 0 && r.count >= 0 && r.width >= 0, "sizes must not be negative");
  c.require(r.index_type == i32 || r.index_type == i64, "indices must be i32 or i64");
  return r;
}

int64_t index_at(const std::byte* index, DType type, int64_t i) {
  return type == i32 ? reinterpret_cast<const int32_t*>(index)[i]
                     : reinterpret_cast<const int64_t*>(index)[i];
}

void check_indices(const RowCall& r, const std::byte* index, const char* what) {
  for (int64_t i = 0; i < r.count; ++i) {
    int64_t row = index_at(index, r.index_type, i);
    if (row >= r.rows)
      fail_user(std::string(what) + ": index " + std::to_string(row) + " at position " +
                std::to_string(i) + " is out of range; the table has " + std::to_string(r.rows) +
                " rows, so expected 0 to " + std::to_string(r.rows - 1) +
                " (or a negative index for none)");
  }
}

template <typename T>
void add_span(std::byte* out, const std::byte* in, int64_t bytes) {
  T* o = reinterpret_cast<T*>(out);
  const T* x = reinterpret_cast<const T*>(in);
  for (int64_t i = 0; i < bytes / static_cast<int64_t>(sizeof(T)); ++i) o[i] += x[i];
}

template <float (*widen)(uint16_t), uint16_t (*narrow)(float)>
void add_half(std::byte* out, const std::byte* in, int64_t bytes) {
  auto* o = reinterpret_cast<uint16_t*>(out);
  auto* x = reinterpret_cast<const uint16_t*>(in);
  for (int64_t i = 0; i < bytes / 2; ++i) o[i] = narrow(widen(o[i]) + widen(x[i]));
}

using AddSpan = void (*)(std::byte*, const std::byte*, int64_t);

AddSpan adder(DType t) {
  switch (t) {
    case DType::f32: return add_span<float>;
    case DType::f64: return add_span<double>;
    case DType::i32: return add_span<int32_t>;
    case DType::i64: return add_span<int64_t>;
    case DType::u8: return add_span<uint8_t>;
    case DType::bf16: return add_half<float_from_bf16, bf16_from_float>;
    case DType::f16: return add_half<float_from_f16, f16_from_float>;
    case DType::b8:
    case DType::f8e4m3: break;
  }
  fail_unsupported("scatter cannot add " + std::string(name_of(t)) +
                   "; cast to a type that is computed with first");
}

}  // namespace

Action prepare_gather(const BoundCall& c) {
  RowCall r = read_attributes(c);
  int64_t grain = std::max<int64_t>(1, kBytesPerTask / std::max<int64_t>(1, r.row_bytes()));
  return [=, table = c.args[0], index = c.args[1], out = c.args[2], &pool = c.pool] {
    check_indices(r, index, "gather");
    int64_t bytes = r.row_bytes();
    pool.parallel(r.count, grain, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {
        int64_t row = index_at(index, r.index_type, i);
        if (row < 0)
          std::memset(out + i * bytes, 0, bytes);
        else
          std::memcpy(out + i * bytes, table + row * bytes, bytes);
      }
    });
  };
}

// Threads own columns, not rows: then updates of one row keep their order without any sorting, and
// a row that everybody updates still spreads over all threads.
Action prepare_scatter(const BoundCall& c) {
  RowCall r = read_attributes(c);
  const std::string& mode = c.call.text("mode");
  c.require(mode == "add" || mode == "set", "mode must be \"add\" or \"set\"");
  AddSpan add = mode == "add" ? adder(r.type) : nullptr;
  int64_t lines = (r.row_bytes() + kCacheLine - 1) / kCacheLine;
  int64_t grain =
      std::max<int64_t>(1, kBytesPerTask / (kCacheLine * std::max<int64_t>(1, r.count)));
  return [=, out = c.args[0], index = c.args[1], updates = c.args[2], &pool = c.pool] {
    check_indices(r, index, "scatter");
    int64_t bytes = r.row_bytes();
    pool.parallel(lines, grain, [&](int64_t lo, int64_t hi) {
      int64_t first = lo * kCacheLine, length = std::min(bytes, hi * kCacheLine) - first;
      for (int64_t i = 0; i < r.count; ++i) {
        int64_t row = index_at(index, r.index_type, i);
        if (row < 0) continue;
        std::byte* to = out + row * bytes + first;
        const std::byte* from = updates + i * bytes + first;
        if (add)
          add(to, from, length);
        else
          std::memcpy(to, from, length);
      }
    });
  };
}

}  // namespace fusec::cpu
