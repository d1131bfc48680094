// Where background work finds a layer below.
//
//   export             layer                                   there
//   the default one    its own, opened when there is first     with or without clients
//                      something to do
//   one with a name    a client's                              while there are clients
//
// A layer that belongs to no client has no export name (common/block/lent_layer.hpp): it is that of
// the default export, whatever name it was opened with. So what is dirty in an export with a name
// waits for a client of that export.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/block/layer.hpp"
#include "common/block/lent_layer.hpp"

namespace nbdstack {

// Used by one thread at a time.
class BackgroundBelow {
 public:
  using Use = std::function<void(Layer&)>;

  BackgroundBelow() = default;
  BackgroundBelow(const BackgroundBelow&) = delete;
  BackgroundBelow& operator=(const BackgroundBelow&) = delete;
  virtual ~BackgroundBelow() = default;

  // Calls use(layer), and lets out what that throws. False: there is no layer now. Throws Error when
  // it cannot be opened.
  virtual bool with(const Use& use) = 0;
  // What was done with the layer failed, and its connection may be lost: the next with() takes
  // another one.
  virtual void take_another() = 0;
};

class OwnBelow final : public BackgroundBelow {
 public:
  using Open = std::function<std::unique_ptr<Layer>()>;

  explicit OwnBelow(Open open) : open_(std::move(open)) {}
  bool with(const Use& use) override {
    if (layer_ == nullptr) layer_ = open_();
    use(*layer_);
    return true;
  }
  void take_another() override { layer_.reset(); }

 private:
  const Open open_;
  std::unique_ptr<Layer> layer_;
};

class ClientsBelow final : public BackgroundBelow {
 public:
  // `clients` outlives this.
  explicit ClientsBelow(LentLayers& clients) : clients_(clients) {}
  bool with(const Use& use) override { return clients_.with_one(use); }
  void take_another() override { clients_.put_first_last(); }

 private:
  LentLayers& clients_;
};

}  // namespace nbdstack
