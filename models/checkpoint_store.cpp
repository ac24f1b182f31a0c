// Steps to file names, and which files stay; see checkpoint_store.h.
#include "fusec/models/checkpoint_store.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "fusec/base/error.h"

namespace fusec::models {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors", kBest = "best.safetensors";

// The step of "step-<digits>.safetensors", or -1.
int64_t step_of(std::string_view name) {
  if (name.size() <= kPrefix.size() + kSuffix.size() || name.substr(0, kPrefix.size()) != kPrefix ||
      name.substr(name.size() - kSuffix.size()) != kSuffix) {
    return -1;
  }
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  int64_t step = -1;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() && step >= 0 ? step : -1;
}

// Of "<checkpoint>.tmp<digits>", as io::AtomicFile names them.
bool is_leftover(std::string_view name) {
  const size_t at = name.rfind(".tmp");
  if (at == std::string_view::npos || at + 4 == name.size()) return false;
  const std::string_view digits = name.substr(at + 4), whole = name.substr(0, at);
  return digits.find_first_not_of("0123456789") == std::string_view::npos &&
         (step_of(whole) >= 0 || whole == kBest);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

// What cannot be removed is in nobody's way: it is an older checkpoint too many.
void remove(const std::string& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

CheckpointStore::CheckpointStore(std::string folder, int64_t keep)
    : folder_(std::move(folder)), keep_(keep) {
  if (keep < 1)
    fail_user("cannot keep " + std::to_string(keep) + " checkpoints; expected 1 or more");
}

std::vector<CheckpointStore::Entry> CheckpointStore::list() const {
  std::vector<Entry> entries;
  for (const std::string& name : names_in(folder_)) {
    const int64_t step = step_of(name);
    if (step >= 0) entries.push_back({step, folder_ + "/" + name});
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.step < b.step; });
  return entries;
}

void CheckpointStore::make_folder() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    fail_user(folder_ + ": cannot be created: " + error.message() +
              "; check that its parent folder is writable, or choose another --out");
  }
}

std::string CheckpointStore::save(int64_t step,
                                  const std::function<void(const std::string&)>& write) const {
  make_folder();
  char name[64];
  std::snprintf(name, sizeof name, "step-%08lld.safetensors", static_cast<long long>(step));
  const std::string path = folder_ + "/" + name;
  write(path);
  int64_t newer = 0;
  const std::vector<Entry> entries = list();
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    if (it->step > step || ++newer > keep_) remove(it->path);
  }
  return path;
}

void CheckpointStore::save_best(const std::function<void(const std::string&)>& write) const {
  make_folder();
  write(best());
}

void CheckpointStore::remove_leftovers() const {
  for (const std::string& name : names_in(folder_)) {
    if (is_leftover(name)) remove(folder_ + "/" + name);
  }
}

void CheckpointStore::clear() const {
  for (const Entry& entry : list()) remove(entry.path);
  remove(best());
}

std::string find_checkpoint(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    fail_user(path +
              ": no such checkpoint; expected a .safetensors file of a run's checkpoints "
              "folder, or the folder of a run that has saved one");
  }
  if (!fs::is_directory(path, error)) return path;
  for (const std::string& folder : {path + "/checkpoints", path}) {
    const auto entries = CheckpointStore(folder, 1).list();
    if (!entries.empty()) return entries.back().path;
  }
  fail_user(path +
            ": holds no checkpoint (step-<number>.safetensors); name another with "
            "--resume=PATH, or start the run without --resume");
}

}  // namespace fusec::models
