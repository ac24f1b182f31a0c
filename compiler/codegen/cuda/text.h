// Lines of code with indentation and comments.
#pragma once

#include <string>

namespace fusec::codegen_cuda {

class Text {
 public:
  explicit Text(bool comments, int depth = 0) : comments_(comments), depth_(depth) {}

  // One line; the comment is dropped where comments are off.
  void line(const std::string& code, const std::string& comment = "") {
    out_ += std::string(2 * depth_, ' ') + code;
    code_ += code + '\n';
    if (comments_ && !comment.empty()) out_ += "  // " + comment;
    out_ += '\n';
  }
  void comment(const std::string& text) {
    if (comments_) line("// " + text);
  }
  void unroll() { out_ += "#pragma unroll\n"; }
  void no_unroll() { out_ += "#pragma unroll 1\n"; }
  void open(const std::string& head) { line(head.empty() ? "{" : head + " {"), ++depth_; }
  void close() { --depth_, line("}"); }

  // An empty text for what goes inside the block that is open here, or `deeper` blocks further.
  Text inner(int deeper = 0) const { return Text(comments_, depth_ + deeper); }
  void append(const Text& inner) { out_ += inner.out_, code_ += inner.code_; }
  // Whether `word` stands in the code (not the comments) so far, as a whole word.
  bool mentions(const std::string& word) const {
    auto part = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    for (size_t at = code_.find(word); at != std::string::npos; at = code_.find(word, at + 1)) {
      size_t end = at + word.size();
      if ((at == 0 || !part(code_[at - 1])) && (end == code_.size() || !part(code_[end])))
        return true;
    }
    return false;
  }
  // Those lines "const T name = ...;" of `numbers` that `work` or a later one needs, then `work`.
  void append_needed(const Text& numbers, const Text& work) {
    Text needed = work;
    std::string lines = numbers.out_;
    while (!lines.empty()) {
      size_t start = lines.rfind('\n', lines.size() - 2);
      start = start == std::string::npos ? 0 : start + 1;
      const std::string line = lines.substr(start);
      lines.resize(start);
      size_t end = line.find(" = "), name = line.rfind(' ', end - 1) + 1;
      if (!needed.mentions(line.substr(name, end - name))) continue;
      needed.out_ = line + needed.out_;
      needed.code_ = line + needed.code_;
    }
    append(needed);
  }
  const std::string& str() const { return out_; }

 private:
  bool comments_;
  int depth_;
  std::string out_, code_;  // with and without comments
};

}  // namespace fusec::codegen_cuda
