#include "fusec/core/pieces.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace fusec {

std::vector<Piece> pieces_of(const std::vector<int64_t>& sizes) {
  std::vector<Piece> out;
  for (size_t i = 0; i < sizes.size(); ++i)
    for (int64_t at = 0; at < sizes[i]; at += kPieceBytes)
      out.push_back({i, at, std::min(kPieceBytes, sizes[i] - at)});
  return out;
}

void for_each_piece(const std::vector<Piece>& pieces, int threads,
                    const std::function<void(int thread, const Piece& piece)>& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr first;
  std::mutex mutex;
  auto run = [&](int thread) {
    try {
      for (size_t i = next++; i < pieces.size(); i = next++) work(thread, pieces[i]);
    } catch (...) {
      next = pieces.size();
      std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  const int most = static_cast<int>(std::min<size_t>(std::max(threads, 1), pieces.size()));
  for (int i = 1; i < most; ++i) {
    try {
      helpers.emplace_back(run, i);
    } catch (const std::system_error&) {
      break;  // fewer threads then
    }
  }
  run(0);
  for (std::thread& t : helpers) t.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace fusec
