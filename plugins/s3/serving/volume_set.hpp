// Several volumes of one bucket, each under an export name: the volume KEY/NAME is the export NAME.
//
// A volume is opened, and the right to write it taken, when its first client connects, and kept
// until the server ends: later clients need not wait, and no other server takes it over in between.
// Opening one does not hold up the clients of others. Nothing is kept of names that no volume has:
// clients may request any number of them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/sync/mutex.hpp"
#include "plugins/s3/serving/served_volume.hpp"

namespace nbdstack {

class VolumeSet {
 public:
  // All keys begin with `settings.request.key`; no volume is created.
  VolumeSet(ServingSettings settings, const Host& host, std::function<bool()> stopping);

  // Opens the volume at its first call. Throws Error(ENOENT) if there is none, and Error(EINVAL)
  // for a name that no volume can have.
  Layer& disk(const std::string& name);

  // The names of all volumes directly below the key, of our own layout.
  std::vector<std::string> names();

  // Ends all volumes; no request is under way.
  void stop();

 private:
  struct Entry {
    Mutex opening;
    std::unique_ptr<ServedVolume> volume GUARDED_BY(opening);
  };

  std::unique_ptr<ServedVolume> open(const std::string& name);
  void forget_if_unused(const std::string& name, const std::shared_ptr<Entry>& entry);

  const ServingSettings settings_;
  const Host host_;
  const std::function<bool()> stopping_;
  Mutex mutex_;  // held for moments only; may be taken with an Entry's held
  std::map<std::string, std::shared_ptr<Entry>> entries_ GUARDED_BY(mutex_);
};

// Returns whether a volume may have the name: it must be one part of a key and a name for a file.
bool can_be_volume_name(const std::string& name);

// The names of the volumes directly below `key`, in the order of their keys. Costs a listing of the
// "directories" there, and a request for each one's descriptor, `requests` (at least 1) at a time.
std::vector<std::string> list_volumes(ObjectStore& store, const std::string& key,
                                      std::size_t requests);

}  // namespace nbdstack
