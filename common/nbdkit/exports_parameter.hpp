// The parameter FILTER-exports, of filters that keep a State for each disk (disk_registry.hpp).
#pragma once

#include <string>
#include <utility>

#include "common/block/disk_registry.hpp"
#include "common/params/parameters.hpp"

namespace nbdstack {

// `rule` is ExportRule::found_out and stays so if the parameter is not given.
inline Parameter exports_parameter(const std::string& filter, ExportRule& rule) {
  Parameter parameter = choice_parameter<ExportRule>(
      filter + "-exports", rule, {{"one", ExportRule::one}, {"each", ExportRule::each}},
      "whether all export names show one disk, or each its own");
  parameter.default_text = "what the plugin tells";
  return parameter;
}

}  // namespace nbdstack
