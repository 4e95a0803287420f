// Draws the API's own description. Nothing is asked of any other server: the validator of Swagger UI is off.
"use strict";
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger", deepLinking: true, validatorUrl: null, tryItOutEnabled: true });
