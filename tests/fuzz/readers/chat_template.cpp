// Jinja texts of chat templates, which are recognised, not run.
#include "fusec/models/chat_template.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  const std::string chatml =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
      "{{ '<|im_start|>assistant\\n' }}{% endif %}";
  return {chatml,
          "{# a comment #}{{- raise_exception(\"it's\") }}{{ \"\\\"\" }}\n{%- set x = 'y' -%}" +
              chatml};
}

void read_bytes(std::string_view bytes) {
  (void)models::ChatTemplate::recognise(bytes, "tokenizer_config.json");
}

}  // namespace fusec::fuzz
