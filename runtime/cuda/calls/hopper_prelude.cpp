// Instructions of sm_90a alone, as the PTX ISA has them: mbarriers, copies of boxes by tensor maps
// (cp.async.bulk.tensor), and wgmma, whose operands in shared memory are panels of 64 columns of
// 128 bytes a row, 16-byte pieces swapped by the row: what TensorMap (call.h) makes. Tests run the
// texts with other definitions of the instructions, so kernels have no assembly of their own.
#include "prelude.h"

namespace fusec::cuda {

const std::string_view kHopperInstructions = R"cuda(
struct __align__(64) TensorMap {
  unsigned long long words[16];
};

// An mbarrier: a phase ends when `count` arrivals and the bytes expected are there. Its phases are
// numbered from 0; waiting for parity p lets go once a phase of that parity has ended, so a wait
// for parity 1 passes at once in the beginning.
DEV void barrier_init(void* b, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count));
}
// After the last barrier_init, before the block meets: copies see the barriers.
DEV void barriers_ready() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void barrier_expect(void* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               :: "r"(shared_address(b)), "r"(bytes)
               : "memory");
}
DEV void barrier_arrive(void* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
DEV void barrier_wait(void* b, int parity) {
  asm volatile("{\n.reg .pred p;\n"
               "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
               "@p bra DONE;\nbra AGAIN;\nDONE:\n}"
               :: "r"(shared_address(b)), "r"(parity)
               : "memory");
}

// Named barriers of `threads` threads; 0 is __syncthreads.
DEV void meet(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
DEV void signal(int id, int threads) {  // takes part without waiting
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Copies of a box at (column, row, panel, head, item); the barrier hears of all its bytes, also of
// zeros for what lies beyond the tensor.
DEV void load_box(void* to, const TensorMap& map, void* barrier, int column, int row, int panel,
                  int head, int item) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
               "[%1, {%3, %4, %5, %6, %7}], [%2];"
               :: "r"(shared_address(to)), "l"(&map), "r"(shared_address(barrier)), "r"(column),
                  "r"(row), "r"(panel), "r"(head), "r"(item)
               : "memory");
}
// `bytes` bytes in a row, a multiple of 16 at multiples of 16.
DEV void load_bytes(void* to, const void* from, void* barrier, int bytes) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
               "[%3];"
               :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}
DEV void store_box(unsigned from, const TensorMap& map, int column, int row, int panel, int head,
                   int item) {
  asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], "
               "[%1];"
               :: "l"(&map), "r"(from), "r"(column), "r"(row), "r"(panel), "r"(head), "r"(item)
               : "memory");
}
DEV void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// The stores of this thread have read shared memory; and, done, have written.
DEV void wait_stores_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
DEV void wait_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
// What this thread wrote to shared memory is seen by copies and wgmma issued after a barrier.
DEV void publish_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int N>
DEV void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
DEV void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// Products run on their own: touched(c) keeps the compiler from moving uses of accumulators over
// their start and their end.
DEV void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
DEV void wait_products() {  // for all but the N newest groups
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
template <int N>
DEV void touched(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(c[i])::"memory");
}

// Four 8 x 8 matrices of 16-bit elements, the opposite of ldmatrix: lane l gives the address of row
// l % 8 of matrix l / 8 and the elements 2 * (l % 4), + 1 of row l / 4 of each; trans: of its columns.
DEV void store_matrix(unsigned address, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
               :: "r"(address), "r"(r0), "r"(r1), "r"(r2), "r"(r3)
               : "memory");
}
DEV void store_matrix_trans(unsigned address, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
               :: "r"(address), "r"(r0), "r"(r1), "r"(r2), "r"(r3)
               : "memory");
}

// Between blocks: what was done before raise_to() is there after an await_at_least() that it ends,
// also for threads that an mbarrier joins to these two.
DEV void await_at_least(const unsigned* word, unsigned least) {
  unsigned now;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(word) : "memory");
  } while (now < least);
}
DEV void raise_to(unsigned* word, unsigned value) {
  asm volatile("red.release.gpu.global.max.u32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
}

// to[0, 4) += x[0, 4), each in one piece, in any order with others.
DEV void add4(float* to, const float* x) {
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
               :: "l"(to), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
               : "memory");
}
)cuda";

const std::string_view kHopperTiles = R"cuda(
constexpr int kConsumers = kLanesArrive ? 256 : 8;  // arrivals that release a stage

// One arrival of a warp, of which no lane uses any more what the barrier guards. Racecheck counts
// only lanes that arrive themselves.
DEV void release(void* b) {
  __syncwarp();
  if (kLanesArrive || threadIdx.x % 32 == 0) barrier_arrive(b);
}
// A tile in shared memory, 1024-byte aligned, as an operand of wgmma. `panel`: bytes of a panel, of
// use where the columns are not those summed over (by_rows below); then 16 summed rows further is
// + kRowsStep. k_step<ROWS>(k): 16 summed columns k further in a tile of ROWS rows.
DEV unsigned long long operand(unsigned address, int panel) {
  return (unsigned long long)((address & 0x3ffff) >> 4) |
         (unsigned long long)(panel >> 4) << 16 | (unsigned long long)(1024 >> 4) << 32 |
         1ull << 62;
}
constexpr int kRowsStep = 16 * 128 >> 4;
template <int ROWS>
DEV int k_step(int k) {
  return ((k / 4) * (ROWS * 128) + (k % 4) * 32) >> 4;
}

// Heads lie in shared memory as panels of 64 columns. Where they fill them, one box is all panels
// of a tile; else (see TensorMap) a box is one panel, the last one with zeros beyond the head.
constexpr int kPanels = (kD + 63) / 64;
constexpr bool kWholePanels = kD % 64 == 0;

// Rows [row, row + ROWS) of a head; the barrier expects ROWS * kPanels * 128 bytes of them.
template <int ROWS>
DEV void load_tile(unsigned char* to, const TensorMap& map, void* barrier, int row, int head,
                   int item) {
  if (kWholePanels) {
    load_box(to, map, barrier, 0, row, 0, head, item);
    return;
  }
#pragma unroll
  for (int panel = 0; panel < kPanels; ++panel)
    load_box(to + panel * (ROWS * 128), map, barrier, panel * 64, row, 0, head, item);
}
// All panels, `bytes` bytes from one to the next, of the rows from `row` on that its box has.
DEV void store_panels(unsigned from, int bytes, const TensorMap& map, int row, int head, int item) {
  for (int panel = 0; panel < kPanels; ++panel)
    store_box(from + panel * bytes, map, kWholePanels ? 0 : panel * 64, row,
              kWholePanels ? panel : 0, head, item);
}

// Writes accumulators of 64 rows by a warpgroup, times low (rows 0 to 7 of 16) and high, to panels
// of `panel` bytes each; row: of this lane for stmatrix.
template <int N>
DEV void store_accumulators(unsigned to, int panel, const float (&c)[N], float low, float high) {
  int lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + (lane & 15);
#pragma unroll
  for (int j = 0; j < N / 8; ++j) {
    int piece = (j % 4) * 2 + (lane >> 4);
    unsigned address = to + (j / 4) * panel + row * 128 + ((piece ^ (row & 7)) << 4);
    store_matrix(address, pack(c[8 * j] * low, c[8 * j + 1] * low),
                 pack(c[8 * j + 2] * high, c[8 * j + 3] * high),
                 pack(c[8 * j + 4] * low, c[8 * j + 5] * low),
                 pack(c[8 * j + 6] * high, c[8 * j + 7] * high));
  }
}
)cuda";

std::string wgmma_text(WgmmaForm form, int n, DType type) {
  int count = n / 2;  // accumulators of a thread
  auto place = [](int i) { return "%" + std::to_string(i); };
  std::string accumulators, outputs;
  for (int i = 0; i < count; ++i) {
    accumulators += (i ? ", " : "") + place(i);
    outputs += std::string(i ? ", " : "") + "\"+f\"(c[" + std::to_string(i) + "])";
  }
  bool registers = form == WgmmaForm::weights;
  std::string a = place(count), inputs = "\"l\"(a), \"l\"(b), \"r\"(add)";
  if (registers) {
    a = "{" + place(count) + ", " + place(count + 1) + ", " + place(count + 2) + ", " +
        place(count + 3) + "}";
    inputs = "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b), \"r\"(add)";
  }
  int next = count + (registers ? 4 : 1);
  const char* name = registers                    ? "multiply_weights"
                     : form == WgmmaForm::by_rows ? "multiply_by_rows"
                                                  : "multiply";
  const char* transposed = registers ? "1" : form == WgmmaForm::by_rows ? "0, 1" : "0, 0";
  std::string element = type == DType::bf16 ? "bf16" : "f16";
  return std::string("DEV void ") + name + "(float (&c)[" + std::to_string(count) + "], " +
         (registers ? "const unsigned* a" : "unsigned long long a") +
         ", unsigned long long b, int add) {\n  asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 "
         "p, " +
         place(next + 1) + ", 0;\\n\"\n    \"wgmma.mma_async.sync.aligned.m64n" +
         std::to_string(n) + "k16.f32." + element + "." + element + " {" + accumulators + "}, " +
         a + ", " + place(next) + ", p, 1, 1, " + transposed + ";\\n}\\n\"\n    : " + outputs +
         "\n    : " + inputs + ");\n}\n";
}

}  // namespace fusec::cuda
