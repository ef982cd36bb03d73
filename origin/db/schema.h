/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STAGEFS_ORIGIN_DB_SCHEMA_H
#define STAGEFS_ORIGIN_DB_SCHEMA_H

#include "common/db.h"

extern const struct db_schema origin_schema;

#endif
