// Parses the head of an HTTP answer, line by line: its status, and its header fields.
#pragma once

#include <cstdint>
#include <string_view>

#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

enum class HeadLine : std::uint8_t {
  status,  // an answer begins; anything before it was an interim one (100 Continue)
  field,   // one that is kept
  end,     // the body follows
  other,   // a line without meaning here
};

// Parses the next line, its end included, into `response`, and returns its kind. Names of fields
// are stored in lower case, values without the blanks around them.
HeadLine take_head_line(std::string_view line, HttpResponse& response);

}  // namespace nbdstack
