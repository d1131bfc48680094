// A plugin of nbdkit as a class. It lives as a filter does (filter.hpp tells the order of calls)
// with nothing below it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/params/parameters.hpp"

struct nbdkit_plugin;

namespace nbdstack {

struct PluginInfo {
  const char* name;
  const char* longname;
  const char* version;
  const char* description;
  const char*
      magic_config_key;  // what a bare word on the command line is the value of; nullptr: nothing
};

class Plugin {
 public:
  Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  virtual ~Plugin() = default;

  [[nodiscard]] virtual PluginInfo info() const = 0;
  virtual ParameterTable parameters() = 0;
  virtual void dump() const {}  // lines "key=value" on stdout for nbdkit --dump-plugin
  virtual void config_complete() {}
  virtual void get_ready() {}
  virtual void after_fork() {}
  virtual std::unique_ptr<Layer> open(bool readonly, const std::string& export_name) = 0;
  // What a client is told that asks which exports there are; "" is the default one.
  virtual std::vector<std::string> exports() { return {""}; }
  virtual void cleanup() {}
  // Instead of cleanup(): the process ends without it, because the start has failed in some layer
  // after get_ready(). Requests of layers above may be under way.
  virtual void abandon() {}
};

nbdkit_plugin* register_plugin(std::unique_ptr<Plugin> plugin);

}  // namespace nbdstack

#define NBDSTACK_REGISTER_PLUGIN(PluginClass)                                                 \
  extern "C" __attribute__((visibility("default"))) struct nbdkit_plugin* plugin_init(void) { \
    return nbdstack::register_plugin(std::make_unique<PluginClass>());                        \
  }
