// KernelProgram -> the text of one __global__ function and the helpers that it uses.
//
// A thread works on lanes: neighbours in the last dimension. What does not vary along them is a
// scalar, computed outside the loop over lanes. A load of lanes stays packed (32-bit words named
// x<op>) until a lane is used; a stored value gathers its lanes in an array y<op>. Value v<op> is
// op %<op> of the kernel's text.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "analysis.h"
#include "fusec/codegen_cuda/codegen.h"
#include "prelude.h"
#include "residency.h"
#include "text.h"

namespace fusec::codegen_cuda {

// Names of the values known at a point of the text; those of `parent` too.
struct Scope {
  const Scope* parent = nullptr;
  std::map<int, std::string> names = {};
};

// Where an op is evaluated.
struct Point {
  Scope* scope = nullptr;
  std::vector<std::string> index;     // text of i[d], of lane 0 for the last one; "0" is left out
  std::string lane;                   // the lane, inside the loop over lanes
  std::map<int, std::string> words = {};  // loads of lanes: their words
  int pass = -1;                      // rows: selects reads of kept values
  std::string turn;                   // rows: index of kept values
};

class Emitter {
 public:
  // `kernel` is of few dimensions and outlives the emitter.
  Emitter(const KernelProgram& kernel, LaunchForm form, bool comments);
  std::string text();  // once
  HookFunctions hook(const LibraryCall& call);  // instead of text()

 private:
  using Ops = std::vector<int>;

  using Body = std::function<void(const std::string&)>;

  // emit_hook.cpp
  struct HookParts;
  std::string captured_element(const HookParts& h, int op) const;
  unsigned hook_leaves(const HookParts& h, int root, Point& p);

  // emit_flat.cpp
  void flat();
  void flat_reduce();
  void flat_reduce_loop(const Ops& reduces, Point& unit);

  // emit_rows.cpp
  void rows();
  void row_index(Point& unit);
  void row_resident(const Ops& loads, Point& unit);
  void kept_values();
  void row_tiles();
  void row_passes(Point& unit);
  void turn_loop(const std::string& name, int64_t count, const Body& body);
  void row_step(Point p, const std::string& turn, bool spare,
                const std::function<void(Point&)>& body);
  void row_loads(const Ops& loads, const Point& unit, const std::string& turn,
                 const std::string& slot, bool spare);
  void row_compute(const Point& unit, int pass, const std::string& turn, bool spare);
  void row_pass(Point& unit, int pass);

  // emit_row_reduce.cpp
  struct Pick {
    int index = 0, number = 0, value = 0;
  };
  bool find_pick(int reduce, Pick& pick) const;
  int joined_max(int reduce) const;  // or -1
  Ops small_tanhs(int pass) const;
  void row_lanes(const Ops& reduces, const Ops& stores, Point& p);
  void row_join(const Ops& reduces, Point& unit);

  // emit_panels.cpp
  struct Ahead {  // loads of the rows to come, on their way to shared memory
    Ops loads;
    std::vector<int64_t> at;  // by load: its bytes of a slot start here
    int64_t slot = 0;         // bytes of a row of every team
    int64_t depth = 0;        // slots
  };
  void panels();
  void panel_index(Point& unit);
  Ahead choose_ahead() const;
  std::string place_ahead(const Ahead& ahead, size_t i, const std::string& turn,
                          const std::string& k) const;
  void walked_row(const std::string& turn, bool may_pass, bool names_here, Point& p);
  void fetch_ahead(const Ahead& ahead, const Point& unit);
  void scalars_ahead(const Ops& loads, const Point& unit, const std::string& turn, bool declare);
  void panel_sums(Point& unit, const Ops& fixed);

  // emit_columns.cpp
  void columns();
  void column_index(Point& unit);
  void column_pass(const Point& unit, int pass);
  void column_join(const Ops& reduces, bool to_all, Point& unit);
  void column_tail(const Point& unit);
  // Live ops below `roots` that are not known yet: those that pass the test.
  Ops below(const Ops& roots, const std::function<bool(int)>& test) const;

  // emit.cpp: what the schedules share.
  void signature();
  void segment_of_block();
  std::string block_index() const { return form_ == LaunchForm::table ? "block" : "blockIdx.x"; }
  // Scalars of the unit up to a stage, so that inner code finds them.
  void hoist(Point& unit, int stage);
  // i[first .. first+count) of a linear number, the first being the slowest.
  void delinearise(const std::string& linear, int first, int count, Point& p);
  // Opens the loop over lanes and names its lane; no loop for one lane.
  void open_lanes(Point& p);
  void close_lanes();
  void accumulators(const Ops& reduces, const std::string& suffix);
  void accumulate(const Ops& reduces, Point& p, const std::string& suffix);
  // Arrays y<op> for the lanes of stores, and what goes there, inside the loop over lanes.
  void declare_stored(const Ops& stores);
  void stored_lanes(const Ops& stores, Point& p);
  void write_stores(const Ops& stores, Point& p, const std::string& lane_limit = "");
  void write_scalar(int store, Point& p);

  // emit_ops.cpp: values.
  std::string eval(int op, Point& p);
  std::string expression(int op, Point& p);
  std::string prim(const KernelOp& op, DType type, const std::vector<std::string>& args);
  std::string cast(int op, const std::string& arg);
  std::string index_value(int op, Point& p);
  std::string neutral(const KernelOp& reduce) const;
  std::string joined(const KernelOp& reduce, const std::string& a, const std::string& b);
  std::string functor(const KernelOp& reduce);
  std::string comment_of(int op) const;

  // emit_memory.cpp: addresses, loads, stores.
  // For the accesses of inner level that pass the test.
  void bind_bases(const Point& unit, uint64_t unit_dims,
                  const std::function<bool(int)>& test = [](int) { return true; });
  std::string offset(int op, const Point& p, uint64_t dims) const;
  std::string address(int op, const Point& p) const;
  std::string scalar_load(int op, Point& p);
  std::string scalar_bits(int op, const Point& p) const;          // as it lies in memory
  std::string scalar_value(int op, const std::string& bits);
  void declare_words(int load, const std::string& extent);
  void load_lanes(int load, const std::string& words, const Point& p,
                  const std::string& lane_limit = "");
  bool used_once(int op) const;

  static std::string literal(DType type, double v);
  static const char* type_name(DType type);      // of values
  static const char* storage_name(DType type);   // in memory
  std::string use(const std::string& helper) { return prelude_.use(helper); }
  int team() const { return k_.schedule.team; }
  int block() const { return k_.schedule.block; }

  const KernelProgram& k_;
  Analysis a_;
  Residency keep_;
  LaunchForm form_;
  bool comments_;
  Prelude prelude_;
  Text out_;
  std::vector<std::string> bases_;  // by op: pointer that holds the unit's part of the address
  uint64_t unit_dims_ = 0;          // dimensions that bases_ hold
  int pass_reads_ = 1;              // passes that read each element
  std::string index_type_ = "int";  // of numbers of rows and of elements of a row
  bool partial_rows_ = false;       // rows, columns: `here` says whether the team has a unit
  std::string join_slot_;           // panels: where this row's partial results lie
  std::string lane_limit_;          // columns: number of lanes that exist, if not always all
};

std::string num(int64_t v);

}  // namespace fusec::codegen_cuda
