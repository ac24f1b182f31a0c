// What shim.h is for the instructions of sm_90a (calls/hopper_prelude.cpp): mbarriers, copies of
// boxes by tensor maps, wgmma. All of them as late as the program allows, so that a missing wait
// shows: copies to shared memory land at random later moments and leave NaN until then; products
// are computed, from what registers and shared memory then hold, when they are waited for; stores
// of boxes read shared memory when they are waited for. Ends the process with a message on what
// hardware leaves undefined: operands that change between start and wait of a product (not there
// yet, or overwritten), more arrivals than a barrier counts, another shape of the same product in
// one warp, an operand of another layout.
#pragma once

#include <map>

#define __grid_constant__

// Of an argument: where it lies; sizes, of all five dimensions; bytes from one to the next of all
// but the first; sizes of a box. As the driver is told.
struct TensorMap {
  const int64_t* words;
  int64_t size(int dimension) const { return words[1 + dimension]; }
  int64_t stride(int dimension) const { return dimension == 0 ? 2 : words[5 + dimension]; }
  int64_t box(int dimension) const { return words[10 + dimension]; }
  int64_t box_bytes() const { return box(0) * box(1) * box(2) * box(3) * box(4) * 2; }
};

namespace shim {

struct Barrier {
  int count = 0, pending = 0;
  int64_t bytes = 0;      // expected and not there yet
  unsigned completed = 0;  // phases
  std::vector<int> waiting = {};
};

struct Box {
  TensorMap map;
  int64_t at[5];  // its first element
};

struct Flight {  // a copy under way to shared memory
  const void* barrier;
  int64_t bytes;
  unsigned char* to;
  const void* from;  // bytes in a row; null: a box
  Box box;
};

struct NamedBarrier {
  int expected = 0, arrived = 0;
  std::vector<int> waiting = {};
};

struct Product {
  float* c;
  int n;
  bool registers, by_rows, add;
  const unsigned* words;  // operand A in registers
  unsigned long long a, b;
  uint64_t seen = 0;  // digest of the operands in shared memory at the start, of a warp's first lane
};

struct BoxStore {
  unsigned from;
  Box box;
};

struct Queue {  // of a thread
  std::vector<Product> open;
  std::vector<std::vector<Product>> groups;
  std::vector<BoxStore> open_stores, stores;
};

static std::map<const void*, Barrier> barriers;
static std::vector<Flight> flights;
static std::map<int, NamedBarrier> named;
static std::vector<Queue> queues;

inline Barrier& barrier_at(const void* p) {
  auto it = barriers.find(p);
  if (it == barriers.end()) die("an mbarrier that was not initialised");
  return it->second;
}

inline void end_phase(Barrier& b) {
  if (b.pending > 0 || b.bytes != 0) return;
  ++b.completed;
  b.pending = b.count;
  ready.insert(ready.end(), b.waiting.begin(), b.waiting.end());
  b.waiting.clear();
}

inline void arrive(Barrier& b) {
  if (b.pending-- == 0) die("more arrivals than the mbarrier counts");
  end_phase(b);
}

inline unsigned char* shared_at(int64_t address, int64_t bytes) {
  if (address < 0 || address + bytes > static_cast<int64_t>(memory.size()) - kSharedSlack)
    die("outside of shared memory");
  return shared_base + address;
}

// Calls visit(byte in shared memory, element of the tensor) for each element of a box: null for
// those outside of the tensor in any dimension. Rows in shared memory have 128 bytes, and their
// 16-byte pieces are swapped by the row.
template <class F>
void each_element(const Box& b, F visit) {
  const TensorMap& m = b.map;
  if (m.box(0) != 64) die("rows of a box that are not the 128 bytes of the swizzle");
  if (b.at[3] < 0 || b.at[3] >= m.size(3) || b.at[4] < 0 || b.at[4] >= m.size(4))
    die("a box of no head");
  int64_t i[5] = {}, byte = 0;
  auto step = [&] {  // to the next element, the first dimension fastest
    int d = 0;
    while (d < 5 && ++i[d] == m.box(d)) i[d++] = 0;
    return d < 5;
  };
  do {
    bool inside = true;
    auto* element = reinterpret_cast<unsigned char*>(m.words[0]);
    for (int d = 0; d < 5; ++d) {
      const int64_t at = b.at[d] + i[d];
      inside &= at >= 0 && at < m.size(d);
      element += at * m.stride(d);
    }
    visit(byte ^ ((byte >> 7 & 7) << 4), inside ? element : nullptr);
    byte += 2;
  } while (step());
}

inline void land(const Flight& f) {
  if (f.from)
    std::memcpy(f.to, f.from, f.bytes);
  else
    each_element(f.box, [&](int64_t byte, const unsigned char* element) {
      static constexpr unsigned char kZero[2] = {};
      std::memcpy(f.to + byte, element ? element : kZero, 2);
    });
  Barrier& b = barrier_at(f.barrier);
  b.bytes -= f.bytes;
  end_phase(b);
}

inline bool land_one(uint64_t random) {
  if (flights.empty()) return false;
  std::swap(flights[random % flights.size()], flights.back());
  Flight f = flights.back();
  flights.pop_back();
  land(f);
  return true;
}

inline void write_box(const BoxStore& s) {
  if (s.box.map.box(2) != 1) die("a stored box of several panels");
  if (s.from % 1024 != 0) die("a box at no multiple of 1024 bytes");
  const unsigned char* from = shared_at(s.from, s.box.map.box_bytes());
  each_element(s.box, [&](int64_t byte, unsigned char* element) {
    if (element) std::memcpy(element, from + byte, 2);
  });
}

// Element of an operand of 128-byte rows; `at`: bytes from its start, the rows and pieces of eight
// rows lying as tensor maps write them.
inline unsigned short operand_bits(unsigned long long descriptor, int64_t at) {
  const int64_t start = static_cast<int64_t>(descriptor & 0x3fff) << 4;
  const int64_t linear = start + at;
  unsigned short bits;
  std::memcpy(&bits, shared_at(linear ^ ((linear >> 7 & 7) << 4), 2), 2);
  return bits;
}

inline void check_operand(unsigned long long d) {
  if (d >> 62 != 1 || (d >> 32 & 0x3fff) << 4 != 1024) die("an operand of another layout");
}

// Where element k of a row of A, and element [k][n] of B lie in their operands.
inline int64_t place_in_a(int row, int k) { return row / 8 * 1024 + row % 8 * 128 + 2 * k; }
inline int64_t place_in_b(const Product& p, int k, int n) {
  const int64_t panel = static_cast<int64_t>(p.b >> 16 & 0x3fff) << 4;
  return p.by_rows ? n / 64 * panel + k / 8 * 1024 + k % 8 * 128 + n % 64 * 2
                   : n / 8 * 1024 + n % 8 * 128 + 2 * k;
}

inline uint64_t digest(const Product& p, int warp) {
  uint64_t h = 0;
  auto add = [&](unsigned short bits) { h = (h ^ bits) * 0x9e3779b97f4a7c15u, h ^= h >> 29; };
  for (int k = 0; k < 16; ++k) {
    for (int r = 0; r < 16 && !p.registers; ++r)
      add(operand_bits(p.a, place_in_a(warp % 4 * 16 + r, k)));
    for (int n = 0; n < p.n; ++n) add(operand_bits(p.b, place_in_b(p, k, n)));
  }
  return h;
}

// One product of all lanes of a warp: 16 rows.
inline void compute(int warp, size_t group, size_t index) {
  const Product& p = queues[warp * 32].groups[group][index];
  float A[16][16];
  static float B[16][256];
  for (int l = 0; l < 32; ++l) {
    const Product& other = queues[warp * 32 + l].groups[group][index];
    if (other.n != p.n || other.registers != p.registers || other.by_rows != p.by_rows ||
        other.add != p.add || other.b != p.b || (!p.registers && other.a != p.a))
      die("lanes of a warp ask for different products");
    if (!p.registers) continue;
    for (int e = 0; e < 2; ++e) {
      auto half = [&](int i) {
        return half_value(static_cast<unsigned short>(other.words[i] >> (16 * e)));
      };
      const int g = l / 4, x = 2 * (l % 4) + e;
      A[g][x] = half(0), A[g + 8][x] = half(1), A[g][x + 8] = half(2), A[g + 8][x + 8] = half(3);
    }
  }
  if (digest(p, warp) != p.seen) die("operands in shared memory changed during a product");
  for (int k = 0; k < 16; ++k) {
    for (int r = 0; r < 16 && !p.registers; ++r)
      A[r][k] = half_value(operand_bits(p.a, place_in_a(warp % 4 * 16 + r, k)));
    for (int n = 0; n < p.n; ++n) B[k][n] = half_value(operand_bits(p.b, place_in_b(p, k, n)));
  }
  for (int l = 0; l < 32; ++l) {
    float* c = queues[warp * 32 + l].groups[group][index].c;
    for (int i = 0; i < p.n / 2; ++i) {
      const int row = l / 4 + (i & 2 ? 8 : 0), col = i / 4 * 8 + 2 * (l % 4) + (i & 1);
      float sum = p.add ? c[i] : 0;
      for (int k = 0; k < 16; ++k) sum += A[row][k] * B[k][col];
      c[i] = sum;
    }
  }
}

// All groups of a warp but the `left` newest.
inline void compute_groups(int warp, size_t left) {
  const size_t count = queues[warp * 32].groups.size();
  for (int l = 0; l < 32; ++l)
    if (queues[warp * 32 + l].groups.size() != count) die("lanes of a warp wait for other groups");
  for (size_t g = 0; g + left < count; ++g) {
    const size_t size = queues[warp * 32].groups[g].size();
    for (int l = 0; l < 32; ++l)
      if (queues[warp * 32 + l].groups[g].size() != size) die("lanes of a warp differ in a group");
    for (size_t i = 0; i < size; ++i) compute(warp, g, i);
  }
  if (count > left)
    for (int l = 0; l < 32; ++l) {
      auto& groups = queues[warp * 32 + l].groups;
      groups.erase(groups.begin(), groups.end() - static_cast<int64_t>(left));
    }
}

inline void start_block() {
  barriers.clear(), flights.clear(), named.clear();
  queues.assign(fibers.size(), {});
}
inline void end_thread() {
  const Queue& l = queues[current];
  if (!l.open.empty() || !l.groups.empty()) die("ends with products under way");
  if (!l.open_stores.empty() || !l.stores.empty()) die("ends with stores under way");
}
static const bool hooked = (on_block = start_block, on_end = end_thread, deliver = land_one,
                            in_order = true);

template <int N>
void add_product(float (&c)[N], bool registers, bool by_rows, const unsigned* words,
                 unsigned long long a, unsigned long long b, int add) {
  Product p{c, 2 * N, registers, by_rows, add != 0, words, a, b};
  if (!registers) check_operand(a);
  check_operand(b);
  if (lane() == 0) p.seen = digest(p, current / 32);
  queues[current].open.push_back(p);
}

}  // namespace shim

inline void barrier_init(void* b, int count) {
  if (!shim::barriers.emplace(b, shim::Barrier{count, count}).second)
    shim::die("an mbarrier initialised twice");
}
inline void barriers_ready() {}
inline void barrier_expect(void* b, int bytes) {
  shim::Barrier& x = shim::barrier_at(b);
  x.bytes += bytes;
  shim::arrive(x);
}
inline void barrier_arrive(void* b) { shim::arrive(shim::barrier_at(b)); }
inline void barrier_wait(void* b, int parity) {
  shim::Barrier& x = shim::barrier_at(b);
  while ((x.completed & 1) == static_cast<unsigned>(parity)) {
    x.waiting.push_back(shim::current);
    shim::pause();
  }
}

inline void signal(int id, int threads) {
  shim::NamedBarrier& b = shim::named[id];
  if (b.arrived > 0 && b.expected != threads) shim::die("a barrier of two sizes");
  b.expected = threads;
  if (++b.arrived < threads) return;
  shim::ready.insert(shim::ready.end(), b.waiting.begin(), b.waiting.end());
  b = {};
}
inline void meet(int id, int threads) {
  const bool last = shim::named[id].arrived + 1 == threads;
  if (!last) shim::named[id].waiting.push_back(shim::current);
  signal(id, threads);
  if (!last) shim::pause();
}

inline void load_box(void* to, const TensorMap& map, void* barrier, int column, int row, int panel,
                     int head, int item) {
  auto* bytes = static_cast<unsigned char*>(to);
  if ((bytes - shim::shared_base) % 1024 != 0) shim::die("a box at no multiple of 1024 bytes");
  const int64_t size = map.box_bytes();
  std::memset(bytes, 0xff, size);
  shim::flights.push_back({barrier, size, bytes, nullptr, {map, {column, row, panel, head, item}}});
}
inline void load_bytes(void* to, const void* from, void* barrier, int bytes) {
  if (bytes % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(to) % 16 != 0)
    shim::die("bytes that are no multiple of 16");
  std::memset(to, 0xff, bytes);
  shim::flights.push_back({barrier, bytes, static_cast<unsigned char*>(to), from, {}});
}
inline void store_box(unsigned from, const TensorMap& map, int column, int row, int panel, int head,
                      int item) {
  shim::queues[shim::current].open_stores.push_back(
      {from, {map, {column, row, panel, head, item}}});
}
inline void commit_stores() {
  shim::Queue& l = shim::queues[shim::current];
  l.stores.insert(l.stores.end(), l.open_stores.begin(), l.open_stores.end());
  l.open_stores.clear();
}
inline void wait_stores_read() {
  shim::Queue& l = shim::queues[shim::current];
  for (const shim::BoxStore& s : l.stores) shim::write_box(s);
  l.stores.clear();
}
inline void wait_stores() { wait_stores_read(); }
inline void publish_shared() {}

template <int N>
void give_registers() {}
template <int N>
void take_registers() {}

inline void begin_products() {}
inline void commit_products() {
  shim::Queue& l = shim::queues[shim::current];
  l.groups.push_back(std::move(l.open));
  l.open.clear();
}
template <int N>
void wait_products() {
  const int warp = shim::current / 32;
  shim::Meeting& m = shim::warps[warp];
  if (static_cast<int>(m.waiting.size()) + 1 == m.size) shim::compute_groups(warp, N);
  shim::meet(m);
}
template <int N>
void touched(float (&)[N]) {}

template <int N>
void multiply(float (&c)[N], unsigned long long a, unsigned long long b, int add) {
  shim::add_product(c, false, false, nullptr, a, b, add);
}
template <int N>
void multiply_by_rows(float (&c)[N], unsigned long long a, unsigned long long b, int add) {
  shim::add_product(c, false, true, nullptr, a, b, add);
}
template <int N>
void multiply_weights(float (&c)[N], const unsigned* a, unsigned long long b, int add) {
  shim::add_product(c, true, true, a, 0, b, add);
}

inline void shim_store_matrix(unsigned address, const unsigned (&r)[4], bool trans) {
  if (address % 16 != 0) shim::die("stmatrix: bad address");
  shim::together(
      [&](uint64_t* in) {
        for (int m = 0; m < 4; ++m) in[m] = r[m];
        in[4] = address, in[5] = trans;
      },
      [](uint64_t(*in)[8], uint64_t(*)[4]) {
        for (int l = 0; l < 32; ++l)
          for (int m = 0; m < 4; ++m)
            for (int e = 0; e < 2; ++e) {
              const int row = in[l][5] ? 2 * (l % 4) + e : l / 4,
                        col = in[l][5] ? l / 4 : 2 * (l % 4) + e;
              const auto bits = static_cast<unsigned short>(in[l][m] >> (16 * e));
              std::memcpy(shim::shared_at(static_cast<int64_t>(in[8 * m + row][4]) + 2 * col, 2),
                          &bits, 2);
            }
      });
}
inline void store_matrix(unsigned address, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
  shim_store_matrix(address, {r0, r1, r2, r3}, false);
}
inline void store_matrix_trans(unsigned address, unsigned r0, unsigned r1, unsigned r2,
                               unsigned r3) {
  shim_store_matrix(address, {r0, r1, r2, r3}, true);
}

// Blocks run one after the other here, so what a block waits for must have happened.
inline void await_at_least(const unsigned* word, unsigned least) {
  if (*word < least) shim::die("waits for a block that starts later");
}
inline void raise_to(unsigned* word, unsigned value) { *word = *word < value ? value : *word; }

inline void add4(float* to, const float* x) {
  for (int i = 0; i < 4; ++i) to[i] += x[i];
}
