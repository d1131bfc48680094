// Listings of a directory bucket (S3 Express One Zone), which takes only prefixes that end in '/' and
// no start-after: more is asked for, and what was not meant is left out.
#pragma once

#include "plugins/s3/list_page.hpp"
#include "plugins/s3/s3_xml.hpp"
#include "plugins/s3/signing.hpp"

namespace nbdstack {

// Makes the query of a request one that a directory bucket takes.
void widen_listing(QueryList& query);

// Leaves of a page what was asked for. What the service says of the page is of the wider one.
void narrow_page(ListPage& page, const AskedKeys& asked);

}  // namespace nbdstack
