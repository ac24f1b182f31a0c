// Large tensors, cut into pieces that several threads work on side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace fusec {

// A multiple of every element's size, and small beside what a thread works on in all.
inline constexpr int64_t kPieceBytes = int64_t{1} << 20;

struct Piece {
  size_t item = 0;
  int64_t begin = 0, bytes = 0;
};

// The pieces of items of these sizes, in order.
std::vector<Piece> pieces_of(const std::vector<int64_t>& sizes);

// Calls work(thread, piece) for each piece, on `threads` threads of which the caller is number 0;
// fewer where the system gives no more. A thread takes its pieces in their order. Once one call has
// thrown no other begins, and the first exception is thrown here after all have ended.
void for_each_piece(const std::vector<Piece>& pieces, int threads,
                    const std::function<void(int thread, const Piece& piece)>& work);

}  // namespace fusec
