// Large writes: pieces made by several threads, on their way while others are made.
#include <atomic>
#include <stdexcept>

#include "cuda_plan.h"
#include "fusec/core/normal_fill.h"
#include "fusec/core/pieces.h"
#include "pinned.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// Sizes around a piece, beyond all slots together, and none.
struct Wide : PlanBuilder {
  std::vector<int> inputs;
  std::vector<int64_t> sizes = {kPieceBytes / 4, kPieceBytes / 4 + 1, 3, 0, 9 << 18, 1};
  Wide() {
    for (size_t i = 0; i < sizes.size(); ++i)
      inputs.push_back(floats("x" + std::to_string(i), BufferClass::input, sizes[i]));
  }
};

float value_of(int item, int64_t at) { return static_cast<float>(at % 65521 + 100000 * item); }

void make(int item, int64_t begin, int64_t bytes, void* out) {
  for (int64_t i = 0; i < bytes / 4; ++i)
    static_cast<float*>(out)[i] = value_of(item, begin / 4 + i);
}

bool all_as_made(const Program& p, const Wide& wide) {
  for (size_t i = 0; i < wide.sizes.size(); ++i) {
    std::vector<float> got = read_floats(p, wide.inputs[i], wide.sizes[i]);
    for (int64_t at = 0; at < wide.sizes[i]; ++at)
      if (got[static_cast<size_t>(at)] != value_of(static_cast<int>(i), at)) return false;
  }
  return true;
}

std::vector<Filling> fillings_of(const Wide& wide) {
  std::vector<Filling> out;
  for (size_t i = 0; i < wide.inputs.size(); ++i)
    out.push_back({wide.inputs[i], [i](int64_t begin, int64_t bytes, void* to) {
                     make(static_cast<int>(i), begin, bytes, to);
                   }});
  return out;
}

}  // namespace

TEST_CASE("tensors of every size are filled, again and again") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < wide.sizes.size(); ++i)
      write_floats(*p, wide.inputs[i], std::vector<float>(static_cast<size_t>(wide.sizes[i]), -1));
    CHECK(!all_as_made(*p, wide));
    p->fill(fillings_of(wide));
    CHECK(all_as_made(*p, wide));
  }
  p->fill({});
}

TEST_CASE("normal numbers are drawn where they lie, with the bits of the host") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  std::vector<NormalFilling> wanted;
  for (size_t i = 0; i < wide.inputs.size(); ++i)
    wanted.push_back({wide.inputs[i], 0.1f * static_cast<float>(i + 1), 77 + i, ~uint64_t{i}});
  REQUIRE(p->draw_normal(wanted));
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::vector<float> host(static_cast<size_t>(wide.sizes[i]));
    fill_normal(host.data(), 0, wide.sizes[i], wanted[i].deviation, wanted[i].key,
                wanted[i].stream);
    CHECK(read_floats(*p, wide.inputs[i], wide.sizes[i]) == host);
  }
  cuda::LoadOptions ahead;
  ahead.compiles = false;
  CHECK(!wide.load(nullptr, ahead)->draw_normal(wanted));
}

TEST_CASE("a large write arrives whole, and a wrong size is refused before anything is read") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  const int large = wide.inputs[4];
  std::vector<float> values(static_cast<size_t>(wide.sizes[4]));
  for (size_t i = 0; i < values.size(); ++i) values[i] = value_of(7, static_cast<int64_t>(i));
  write_floats(*p, large, values);
  CHECK(read_floats(*p, large, wide.sizes[4]) == values);
  CHECK(has(error_of([&] { p->write(large, nullptr, size_t{64} << 20); }, ErrorKind::user),
            "got 67108864"));
}

TEST_CASE("values are copied ahead beside runs, and take effect when they are taken") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  const int64_t held = p->measured_bytes();
  std::vector<std::vector<float>> before, next, last;
  for (size_t i = 0; i < wide.sizes.size(); ++i) {
    const auto size = static_cast<size_t>(wide.sizes[i]);
    before.emplace_back(size, 1.0f);
    next.emplace_back(size, 2.0f + static_cast<float>(i));
    last.emplace_back(size, -3.0f);
  }
  auto stage = [&](const std::vector<std::vector<float>>& values) {
    for (size_t i = 0; i < values.size(); ++i)
      CHECK(p->stage(wide.inputs[i], values[i].data(), 4 * values[i].size()));
  };
  auto holds = [&](const std::vector<std::vector<float>>& values) {
    bool all = true;
    for (size_t i = 0; i < values.size(); ++i)
      all = all && read_floats(*p, wide.inputs[i], wide.sizes[i]) == values[i];
    return all;
  };
  for (size_t i = 0; i < before.size(); ++i) write_floats(*p, wide.inputs[i], before[i]);
  p->take_staged();
  CHECK(holds(before));
  for (int round = 0; round < 3; ++round) {
    stage(last);
    stage(next);  // replaces them
    CHECK(holds(before));
    p->take_staged();
    CHECK(holds(next));
    for (size_t i = 0; i < before.size(); ++i) write_floats(*p, wide.inputs[i], before[i]);
    p->take_staged();  // once
    CHECK(holds(before));
  }
  int64_t bytes = 0;
  for (int64_t size : wide.sizes) bytes += 4 * size;
  CHECK(p->measured_bytes() == held + bytes);
  CHECK(has(error_of([&] { p->stage(wide.inputs[2], nullptr, 8); }, ErrorKind::user), "got 8"));
}

TEST_CASE("pinned memory is aligned, and a large write from it arrives whole") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  const auto size = static_cast<size_t>(wide.sizes[4]);
  std::shared_ptr<void> memory = cuda::pinned_memory(0, 4 * size);
  CHECK(reinterpret_cast<uintptr_t>(memory.get()) % 256 == 0);
  auto* values = static_cast<float*>(memory.get());
  CHECK(cuda::is_pinned(values, 4 * size));
  CHECK(cuda::is_pinned(values + 1, 4 * size - 4));
  CHECK(!cuda::is_pinned(values + 1, 4 * size));
  CHECK(!cuda::is_pinned(&wide, 1));
  for (size_t i = 0; i < size; ++i) values[i] = value_of(3, static_cast<int64_t>(i));
  p->write(wide.inputs[4], values, 4 * size);
  CHECK(read_floats(*p, wide.inputs[4], wide.sizes[4]) ==
        std::vector<float>(values, values + size));
  memory.reset();
  CHECK(!cuda::is_pinned(values, 4));
}

TEST_CASE("what making a piece throws comes back, and the next fill is right") {
  if (no_gpu()) return;
  Wide wide;
  std::unique_ptr<Program> p = wide.load();
  std::vector<Filling> bad = fillings_of(wide);
  std::atomic<int> calls = 0;
  bad[4].make = [&](int64_t begin, int64_t bytes, void* to) {
    if (++calls == 4) throw std::runtime_error("no value");
    make(4, begin, bytes, to);
  };
  CHECK_THROWS_WITH_AS(p->fill(bad), "no value", std::runtime_error);
  p->fill(fillings_of(wide));
  CHECK(all_as_made(*p, wide));
}

TEST_CASE("pieces cover every byte once, whatever the number of threads") {
  const std::vector<int64_t> sizes = {0, 1, kPieceBytes, kPieceBytes + 1, 5 * kPieceBytes - 1};
  std::vector<Piece> pieces = pieces_of(sizes);
  CHECK(pieces.size() == 1 + 1 + 2 + 5);
  for (int threads : {0, 1, 2, 7, 100}) {
    std::vector<std::atomic<int64_t>> done(sizes.size());
    for_each_piece(pieces, threads, [&](int thread, const Piece& piece) {
      CHECK(thread < std::max(threads, 1));
      CHECK(piece.begin % kPieceBytes == 0);
      done[piece.item] += piece.bytes;
    });
    for (size_t i = 0; i < sizes.size(); ++i) CHECK(done[i] == sizes[i]);
  }
}
