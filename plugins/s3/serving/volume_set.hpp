// Several volumes of one bucket, each under an export name: the volume KEY/NAME is the export NAME.
//
// A volume is opened, and the right to write it taken, when its first client comes, and kept until
// the server ends: the next client does not wait, and nobody else gets in between. Opening one does
// not hold up the clients of others. Of names that are none of a volume's nothing is kept: clients
// may ask for as many as they like.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plugins/s3/serving/served_volume.hpp"

namespace nbdstack {

class VolumeSet {
 public:
  // `settings.request.key` is what all keys begin with; no volume is created.
  VolumeSet(ServingSettings settings, const Host& host, std::function<bool()> stopping);

  // Opens it if that has not been done. Throws Error(ENOENT) where there is no such volume, and
  // Error(EINVAL) for a name that cannot be one.
  Layer& disk(const std::string& name);

  // The names of all volumes directly below the key, of our own layout.
  std::vector<std::string> names();

  // Ends all; no request is under way.
  void stop();

 private:
  struct Entry {
    std::mutex opening;  // held while it is opened
    std::unique_ptr<ServedVolume> volume;
  };

  std::unique_ptr<ServedVolume> open(const std::string& name);
  void forget_if_unused(const std::string& name, const std::shared_ptr<Entry>& entry);

  const ServingSettings settings_;
  const Host host_;
  const std::function<bool()> stopping_;
  std::mutex mutex_;  // protects entries_; taken for moments only
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

// Whether a client may ask for a volume by it: one part of a key, which leads nowhere else.
bool can_be_volume_name(const std::string& name);

// The names of the volumes that lie directly below `key`, in the order of their keys. Costs a
// listing of the "directories" there, and a look for a descriptor in each, `requests` at a time (at
// least one).
std::vector<std::string> list_volumes(ObjectStore& store, const std::string& key,
                                      std::size_t requests);

}  // namespace nbdstack
