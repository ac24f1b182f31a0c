// A libcupti.so.13 that reports what the stand-in driver ran, as the real one may: on a thread of
// its own, in buffers of a few records each, the last buffer first and each from its end, with
// records of a kind that nobody asked for between them. What ran i-th took 100 * (i + 1) ns and
// began 10 ns after the one before ended.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "stand_in.h"

namespace {

constexpr int kMemcpy = 1, kMemset = 2, kKernel = 10, kUnknown = 77;
constexpr int kNoMoreRecords = 12;
constexpr uint64_t kFirst = 5000;  // ns
constexpr size_t kRecordsOfBuffer = 3;

using Request = void (*)(uint8_t** buffer, size_t* bytes, size_t* most);
using Complete = void (*)(void* context, uint32_t stream, uint8_t* buffer, size_t bytes,
                          size_t valid);
Request request = nullptr;
Complete complete = nullptr;

void* symbol(const char* name) {
  return dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
}
fusec::test::StandIn& control() {
  return *reinterpret_cast<fusec::test::StandIn* (*)()>(symbol("fusec_stand_in"))();
}
int failure(const char* name) {
  return reinterpret_cast<int (*)(const char*)>(symbol("fusec_stand_in_failure"))(name);
}

// Of CUpti_ActivityKernel10, Memcpy6, Memset4.
size_t size_of(int kind) {
  return kind == kKernel ? 216 : kind == kMemcpy ? 96 : kind == kMemset ? 88 : 40;
}

template <class T>
void store(uint8_t* record, size_t at, T value) {
  std::memcpy(record + at, &value, sizeof value);
}

size_t write(uint8_t* to, int kind, const char* name, uint64_t start, uint64_t end) {
  std::memset(to, 0xee, size_of(kind));
  store(to, 0, kind);
  if (kind == kUnknown) return size_of(kind);
  store(to, 16, start);
  store(to, 24, end);
  if (kind == kKernel) store(to, 104, name);
  return size_of(kind);
}

void deliver() {
  fusec::test::StandIn& c = control();
  struct Timed {
    fusec::test::Ran ran;
    uint64_t start, end;
  };
  std::vector<Timed> all;
  uint64_t now = kFirst;
  for (size_t i = 0; i < c.ran.size(); ++i) {
    const uint64_t start = now, end = start + 100 * (i + 1);
    now = end + 10;
    if (c.ran[i].type != 0 || c.ran[i].name != c.lose) all.push_back({c.ran[i], start, end});
  }
  c.ran.clear();
  while (!all.empty()) {
    uint8_t* buffer = nullptr;
    size_t bytes = 0, most = 0, valid = 0;
    request(&buffer, &bytes, &most);
    if (!buffer || bytes < kRecordsOfBuffer * 300) std::abort();
    for (size_t i = 0; i < kRecordsOfBuffer && !all.empty(); ++i) {
      Timed& t = all.back();
      const int kind = t.ran.type == 0 ? kKernel : t.ran.type == 1 ? kMemcpy : kMemset;
      if (c.traced.count(kind)) {
        // Names live as long as the code that they name.
        static std::set<std::string> names;
        const bool other = kind == kKernel && t.ran.name == c.rename;
        const char* name = names.insert(other ? "other" : t.ran.name).first->c_str();
        if (kind == kKernel && t.ran.name == c.timeless) t.start = t.end = 0;
        valid += write(buffer + valid, kind, name, t.start, t.end);
        valid += write(buffer + valid, kUnknown, nullptr, 0, 0);
      }
      all.pop_back();
    }
    complete(nullptr, 0, buffer, bytes, valid);
  }
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int cuptiGetVersion(uint32_t* version) {
  const char* asked = std::getenv("STAND_IN_CUPTI_VERSION");
  return *version = asked ? static_cast<uint32_t>(std::atoi(asked)) : 130001, 0;
}
EXPORT int cuptiGetResultString(int result, const char** text) {
  static std::string name;
  name = "STAND_IN_CUPTI_" + std::to_string(result);
  return *text = name.c_str(), 0;
}
EXPORT int cuptiActivityRegisterCallbacks(Request r, Complete c) {
  return request = r, complete = c, 0;
}
EXPORT int cuptiActivityEnable(int kind) {
  if (int code = failure("cuptiActivityEnable")) return code;
  return control().traced.insert(kind), 0;
}
EXPORT int cuptiActivityDisable(int kind) { return control().traced.erase(kind), 0; }
EXPORT int cuptiActivityFlushAll(uint32_t) {
  if (int code = failure("cuptiActivityFlushAll")) return code;
  std::thread(deliver).join();
  return 0;
}
EXPORT int cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid, uint8_t** record) {
  uint8_t* next = buffer;
  if (*record) {
    int kind = 0;
    std::memcpy(&kind, *record, sizeof kind);
    next = *record + size_of(kind);
  }
  if (next >= buffer + valid) return kNoMoreRecords;
  return *record = next, 0;
}
EXPORT int cuptiActivityGetNumDroppedRecords(void*, uint32_t, size_t* dropped) {
  *dropped = control().dropped;
  return control().dropped = 0, 0;
}
