// What the forms of paged_attention share: the problem, how it is cut into blocks, and the text
// that finds a block's queries and keys and leaves its result.
//
//   tensor cores    bf16 and f16 pages, heads that are multiples of 16 up to 256 (as far as shared
//                   memory goes); 8-bit pages, heads that are multiples of 32;
//                   16-byte rows: mma.sync (sm_80)
//   any             every type and head size up to 512, f32 arithmetic
#pragma once

#include "calls.h"

namespace fusec::cuda {

// See paged_attention in plan.h. Query head x reads key head x / (h / kv).
struct Paged {
  int64_t tokens, b, h, kv, d, pages, page_size, max_pages, window;
  float scale, softcap;
  DType type, page_type;
  PagedArguments at;

  int64_t group() const { return h / kv; }
  bool narrow() const { return page_type != type; }  // 8-bit pages: u8 or f8e4m3
};

// How a form cuts a problem: `rows` (token, head of the group) of one key head a tile, `parts`
// of the keys of each tile, one block each. Follows from shapes and the GPU alone.
struct PagedCut {
  int64_t rows, tiles, parts;
  bool joins_itself = true;  // one launch: the last block of a tile joins its parts

  int64_t counters(const Paged& p) const { return parts > 1 && joins_itself ? tiles * p.kv : 0; }
  // Shared memory of the block that joins: a share of each row and part.
  int64_t share_bytes() const { return parts > 1 && joins_itself ? rows * parts * 4 : 0; }
};
PagedCut cut_paged(const Paged& p, int64_t rows, const CallTarget& target);

// Constants of the call, `groups` of warps or lanes whose results a block joins.
Constants paged_constants(const Paged& p, const PagedCut& cut, int64_t groups,
                          std::string_view title);

// Work, work_of(...), page_of_key(...), row_in_page(...), check_ranges(...), clear_rest(...),
// Joined, leave(...): see paged_attention.cpp. Needs kPrelude, and Out and out_of(float) -> Out,
// the elements of o.
extern const std::string_view kPagedText;

// Arguments of a form's kernel, in its order; and the launch that joins parts and writes o where
// the kernel itself does not.
std::vector<LaunchArg> paged_kernel_arguments(const Paged& p, const PagedCut& cut, int64_t sums,
                                              int64_t rest);
CallLaunch join_parts(const Paged& p, const PagedCut& cut, const LibraryCall& call, int64_t sums,
                      int64_t rest);

// The kernel of each form, its grid and arguments not yet set.
CallLaunch mma_paged_attention(const Paged& p, const PagedCut& cut, const CallTarget& target);
CallLaunch any_paged_attention(const Paged& p, const PagedCut& cut);
// Rows of a tile of each form; 0: tensor cores do not take the call.
int64_t mma_paged_rows(const Paged& p, const CallTarget& target);
int64_t any_paged_rows(const Paged& p);

}  // namespace fusec::cuda
