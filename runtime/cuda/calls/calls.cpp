// The table of library calls of the CUDA device, and what their generators share.
#include "calls.h"

#include <cinttypes>
#include <cstdio>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid's first dimension

constexpr struct Row {
  const char* name;
  CallPlan (*plan)(const LibraryCall&, const CallTarget&);
} kCalls[] = {
    {"attention", plan_attention},
    {"attention_grad", plan_attention_grad},
    {"gather", plan_gather},
    {"scatter", plan_scatter},
    {"cumsum", plan_cumsum},
    {"top_k", plan_top_k},
    {"copy", plan_copy},
    {"fill", plan_fill},
    {"guard", plan_guard},
    {"paged_attention", plan_paged_attention},
    {"draw_normal", plan_draw_normal},
};

CallPlan plan_of(const LibraryCall& call, const CallTarget& target) {
  std::vector<std::string> known;
  for (const Row& row : kCalls) {
    if (call.name == row.name) return row.plan(call, target);
    known.push_back(row.name);
  }
  fail_internal("no CUDA text for library call \"" + call.name + "\"" + suggest(call.name, known));
}

}  // namespace

std::vector<CallLaunch> launches_of(const LibraryCall& call, const CallTarget& target) {
  return plan_of(call, target).launches;
}

int64_t call_workspace(const LibraryCall& call, const CallTarget& target) {
  return plan_of(call, target).workspace;
}

MapShape shape_of(const TensorMap& map) {
  constexpr uint64_t kPanel = 64;  // columns of 16 bits: the 128 bytes of the swizzle
  const auto columns = static_cast<uint64_t>(map.columns), heads = static_cast<uint64_t>(map.heads);
  const auto rows = static_cast<uint64_t>(map.rows), items = static_cast<uint64_t>(map.items);
  const uint64_t row = heads * columns * 2, item = rows * row;  // bytes
  MapShape s = {
      {kPanel, rows, columns / kPanel, heads, items},
      {row, kPanel * 2, columns * 2, item},
      {kPanel, static_cast<unsigned>(map.box_rows), static_cast<unsigned>(map.box_panels), 1, 1}};
  if (columns % kPanel != 0) {
    if (map.box_panels != 1) fail_internal("a box of several panels, that columns do not fill");
    s.sizes[0] = columns, s.sizes[2] = 1, s.strides[1] = columns * 2;
  }
  return s;
}

int64_t call_counters(const LibraryCall& call, const CallTarget& target) {
  return plan_of(call, target).counters;
}

DType type_of(const LibraryCall& call, std::string_view key) {
  const std::string& name = call.text(key);
  std::optional<DType> t = parse_dtype(name);
  if (!t) fail_internal(call.name + ": attribute " + std::string(key) + " is not a type: " + name);
  return *t;
}

void require(const LibraryCall& call, bool ok, const char* rule) {
  if (!ok) fail_internal("library call " + call.name + ": " + rule);
}

int64_t common_unit(const LibraryCall& call, std::vector<size_t> args, int64_t size) {
  int64_t bits = size | 16;
  for (size_t i : args) bits |= call.args.at(i).byte_offset;
  return bits & -bits;
}

unsigned blocks_for(const LibraryCall& call, int64_t items, int64_t each) {
  int64_t blocks = (items + each - 1) / each;
  if (blocks > kMostBlocks)
    fail_unsupported(call.name + " needs " + std::to_string(blocks) +
                     " blocks of threads, more than the " + std::to_string(kMostBlocks) +
                     " of a CUDA grid; cut the tensor along its first axis");
  return static_cast<unsigned>(blocks);
}

Constants& Constants::integer(const char* name, int64_t value) {
  bool wide = value != static_cast<int32_t>(value);
  text_ += std::string("constexpr ") + (wide ? "long long " : "int ") + name + " = " +
           std::to_string(value) + (wide ? "ll;\n" : ";\n");
  return *this;
}

Constants& Constants::real(const char* name, double value) {
  char digits[64];
  std::snprintf(digits, sizeof digits, "%.9ef", static_cast<double>(static_cast<float>(value)));
  text_ += std::string("constexpr float ") + name + " = " + digits + ";\n";
  return *this;
}

Constants& Constants::type(const char* name, std::string_view type) {
  text_ += std::string("using ") + name + " = " + std::string(type) + ";\n";
  return *this;
}

}  // namespace fusec::cuda
