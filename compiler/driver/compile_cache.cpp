#include "compile_cache.h"

#include <map>
#include <mutex>

#include "fusec/base/error.h"
#include "fusec/plan/byte_reader.h"
#include "source_digest.h"

namespace fusec::driver {

Digest CompileCache::kernel_key(const KernelProgram& kernel, const codegen_cpu::CpuTarget& target) {
  return sha256_of_list(
      {"cpu kernel", kSourceDigest, codegen_cpu::describe(target), structural_text(kernel)});
}

Digest CompileCache::plan_key(const Digest& graph, std::string_view settings) {
  return sha256_of_list({"plan 2", kSourceDigest, settings, hex(graph)});
}

Digest CompileCache::code_key(const Digest& plan, std::string_view facts) {
  return sha256_of_list({"code of a plan", kSourceDigest, facts, hex(plan)});
}

namespace {

constexpr size_t kMostRemembered = 20000;  // kernels; then the memory starts anew

std::mutex remembered_mutex;
std::map<Digest, CodeImage>& memory() {
  static std::map<Digest, CodeImage> images;
  return images;
}

std::optional<CodeImage> remembered(const Digest& key) {
  std::lock_guard lock(remembered_mutex);
  auto it = memory().find(key);
  return it == memory().end() ? std::nullopt : std::optional(it->second);
}

void remember_image(const Digest& key, const CodeImage& image) {
  std::lock_guard lock(remembered_mutex);
  if (memory().size() >= kMostRemembered) memory().clear();
  memory().emplace(key, image);
}

}  // namespace

codegen_cpu::CompiledKernels CompileCache::kernels(const Plan& plan, int threads,
                                                   const codegen_cpu::CpuTarget& target,
                                                   bool remember, int* hits, int* misses) {
  std::vector<std::optional<CodeImage>> found(plan.kernels.size());
  std::vector<Digest> keys(plan.kernels.size());
  std::vector<const KernelProgram*> missing;
  for (size_t i = 0; i < plan.kernels.size(); ++i) {
    if (disk_ || remember) keys[i] = kernel_key(plan.kernels[i], target);
    if (remember) found[i] = remembered(keys[i]);
    if (disk_ && !found[i]) {
      if (auto bytes = disk_->get(keys[i])) found[i] = parse_code_image(*bytes);
    }
    if (!found[i]) missing.push_back(&plan.kernels[i]);
  }
  codegen_cpu::CompiledKernels fresh = codegen_cpu::compile_kernels(missing, threads, target);
  size_t next = 0;
  codegen_cpu::CompiledKernels out;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) {
      found[i] = std::move(fresh.images[next++]);
      if (disk_) disk_->put(keys[i], to_bytes(*found[i]));
      if (remember) remember_image(keys[i], *found[i]);
    }
    out.images.push_back(std::move(*found[i]));
  }
  out.source_seconds = fresh.source_seconds;
  out.binary_seconds = fresh.binary_seconds;
  *misses += static_cast<int>(missing.size());
  *hits += static_cast<int>(found.size() - missing.size());
  return out;
}

std::optional<KeptPlan> CompileCache::plan(const Digest& key) {
  auto bytes = disk_ ? disk_->get(key) : std::nullopt;
  if (!bytes) return std::nullopt;
  ByteReader in(*bytes, "kept plan");
  KeptPlan kept;
  for (uint64_t n = in.number(4, "the number of warnings"); n > 0; --n)
    kept.warnings.emplace_back(in.text("a warning"));
  kept.plan = parse_plan(in.text("the plan"));
  verify(kept.plan);
  return kept;
}

void CompileCache::keep_plan(const Digest& key, const KeptPlan& kept) {
  if (!disk_) return;
  std::string bytes;
  put_number(bytes, kept.warnings.size(), 4);
  for (const std::string& w : kept.warnings) put_text(bytes, w);
  put_text(bytes, print(kept.plan));
  disk_->put(key, bytes);
}

}  // namespace fusec::driver
